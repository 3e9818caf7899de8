// The theme's button; whoever has to repaint (charts) listens for the event `tillstream-theme`.
{
  const button = document.getElementById("theme")
  const show = (theme) => {
    document.documentElement.dataset.theme = theme
    button.setAttribute("aria-pressed", String(theme === "dark"))
    document.dispatchEvent(new CustomEvent("tillstream-theme", {detail: theme}))
  }
  show(document.documentElement.dataset.theme)
  button.addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark"
    try { localStorage.setItem("tillstream-theme", theme) } catch { /* private mode: for this page only */ }
    show(theme)
  })
}
