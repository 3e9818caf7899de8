// Charts are drawn on a canvas, which CSS does not reach: their models say by tags `ink:<property>=<variable>` which of
// the theme's colours they are drawn with, and are painted here at first and whenever the theme changes. Nothing of
// this goes to the server, and what the server sends later (rows, scales) says nothing of colours.
{
  const painted = new WeakSet()
  const paint = (all) => {
    const style = getComputedStyle(document.documentElement)
    for (const page of window.Bokeh?.documents ?? [])
      for (const root of page.roots())
        for (const model of root.references()) {
          if (!all && painted.has(model)) continue
          painted.add(model)
          const inks = {}
          for (const tag of model.tags ?? []) {
            const [, property, name] = /^ink:(\w+)=([\w-]+)$/.exec(tag) ?? []
            if (property !== undefined) inks[property] = style.getPropertyValue(`--${name}`).trim()
          }
          if (Object.keys(inks).length > 0) model.setv(inks, {sync: false})
        }
  }
  // Bokeh lets its canvases have the keyboard's focus, with which nothing can be done here: the words below them say
  // what they show. Returns whether there is a canvas in each place for one.
  const unfocus = () => {
    const canvases = function* (root) {
      for (const element of root.querySelectorAll("*")) {
        if (element.classList.contains("bk-events")) yield element
        if (element.shadowRoot) yield* canvases(element.shadowRoot)
      }
    }
    const places = [...document.querySelectorAll(".chart")].map((place) => [...canvases(place)])
    for (const canvas of places.flat()) canvas.tabIndex = -1
    return places.every((found) => found.length > 0)
  }
  document.addEventListener("tillstream-theme", () => paint(true))
  const waiting = setInterval(() => {
    if (!window.Bokeh?.documents?.[0]?.roots().length) return
    paint(false)
    if (!unfocus()) return
    clearInterval(waiting)
    document.documentElement.classList.add("painted")
  }, 20)
}
