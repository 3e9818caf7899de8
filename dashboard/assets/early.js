// Before anything is painted: the theme that was chosen here, or else the system's; and the wall screen's mode.
{
  const root = document.documentElement
  const chosen = (() => { try { return localStorage.getItem("tillstream-theme") } catch { return null } })()
  root.dataset.theme = chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
  if (new URLSearchParams(location.search).has("kiosk")) root.classList.add("kiosk")
}
