// Watches whether a live page is live, and brings it back. The server sends every page a beat once a second, for this
// alone: a connection that goes silent (no network, a frozen server) is not closed, so the browser reports nothing.
{
  // Silence is counted in ticks, not by the clock: a busy browser or a sleeping laptop has none, and so no false alarm.
  const TICK = 500 // milliseconds
  const SILENT_TICKS = 6, LOADING_TICKS = 20, STEADY_TICKS = 60
  // Milliseconds: between two attempts; until an attempt has failed; for a reload to begin; between reloads that did
  // not help, at most.
  const AGAIN = 2000, TIMEOUT = 4000, RELOADING = 30000, LONGEST = 60000
  // To one host, at most, in all browsers.
  const CONNECTIONS = 6
  const healthz = document.currentScript.dataset.healthz
  let page, silent = 0, steady = 0, closed = false, incomplete = false, lost = false, trying = false

  const words = () => {
    if (incomplete) return "Not live: a part of this page did not arrive. Trying again …"
    if (page !== undefined) return "Not live: the connection to the dashboard is lost. The figures are out of date. Trying again …"
    return "Not live: the dashboard, or something before it, refuses this page a live connection. Trying again … "
      + "If that lasts, the dashboard’s log says which setting to change."
  }

  const show = () => {
    const notice = document.getElementById("lost")
    if (notice === null) return // the page is still being read; the next tick shows it
    const text = lost ? words() : ""
    if (notice.textContent !== text) notice.textContent = text
    if (notice.hidden === lost) notice.hidden = !lost
  }

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds))

  const ask = async () => {
    try {
      return (await fetch(healthz, {cache: "no-store", signal: AbortSignal.timeout(TIMEOUT)})).ok
    } catch {
      return false // no network, or no answer in time
    }
  }

  // When the websocket went silent, so did the idle connections that the browser keeps: a reload would hang on one.
  // Asking on all of them closes those that do not answer.
  const answers = async () => {
    const asked = Array.from({length: closed ? 1 : CONNECTIONS}, ask)
    return (await Promise.all(asked)).every(Boolean)
  }

  // Reloads that did not make the page live are counted in the history's entry, which outlives them; each waits twice
  // as long as the one before.
  const reloads = () => history.state?.reloads ?? 0
  const count = (number) => history.replaceState({...history.state, reloads: number}, "")

  const comeBack = async () => {
    trying = true
    const earliest = performance.now() + (reloads() ? Math.min(LONGEST, 1000 * 2 ** reloads()) : 0)
    let answered = 0
    while (lost) {
      await pause(AGAIN * (0.5 + Math.random())) // all pages lose a server at once, and must not come back at once
      answered = await answers() ? answered + 1 : 0
      // A silent connection may go on by itself just after the server answers again.
      if (!lost || answered < (closed || incomplete ? 1 : 2) || performance.now() < earliest) continue
      count(reloads() + 1)
      location.reload()
      await pause(RELOADING) // a network that is lost again leaves this page as it is
    }
    trying = false
  }

  const lose = () => {
    steady = 0
    lost = true
    show()
    if (!trying) comeBack()
  }

  const beat = () => {
    silent = 0
    lost = closed
    show()
  }

  const tick = () => {
    silent++
    if (page === undefined && (page = window.Bokeh?.documents?.[0]) !== undefined) {
      page.on_message("beat", beat)
      page.on_event("connection_lost", () => { closed = true; lose() })
      beat()
    }
    if (closed || incomplete || silent > (page === undefined ? LOADING_TICKS : SILENT_TICKS)) lose()
    else if (++steady === STEADY_TICKS && reloads()) count(0)
  }
  setInterval(tick, TICK)

  // A script that did not arrive leaves a page without figures.
  addEventListener("error", ({target}) => {
    if (target instanceof HTMLScriptElement) { incomplete = true; lose() }
  }, true)
}
