// Before anything is painted: the theme that was chosen here, or else the system's; and the wall screen's mode.
{
  const root = document.documentElement
  const chosen = (() => { try { return localStorage.getItem("tillstream-theme") } catch { return null } })()
  root.dataset.theme = chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
  if (new URLSearchParams(location.search).has("kiosk")) root.classList.add("kiosk")
}
// A script that did not arrive (the network changed, a proxy gave up) leaves a page empty: say so, and try again.
addEventListener("error", ({target}) => {
  if (!(target instanceof HTMLScriptElement)) return
  setTimeout(() => location.reload(), 3000)
  addEventListener("DOMContentLoaded", () => {
    const lost = document.getElementById("lost")
    if (lost === null) return
    lost.textContent = "Not live: a part of this page did not arrive. Trying again …"
    lost.hidden = false
  })
}, true)
