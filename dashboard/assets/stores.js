// Makes the table of stores from the source of rows, and keeps it: sorted, searched, and patched row by row.
{
  const table = document.getElementById("stores")
  const body = table.tBodies[0]
  const search = document.getElementById("stores-search")
  const shown = document.getElementById("stores-shown")
  const none = document.getElementById("stores-none")
  const locale = table.dataset.locale
  const collator = new Intl.Collator(locale, {numeric: true, sensitivity: "base"})
  const amounts = new Intl.NumberFormat(locale, {minimumFractionDigits: 2, maximumFractionDigits: 2, roundingMode: "halfEven"})
  const counts = new Intl.NumberFormat(locale)
  const shares = new Intl.NumberFormat(locale, {style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1})
  // How long after the reader's last touch rows keep their places, milliseconds.
  const HOLD = 3000

  const rows = new Map()
  // Choices are kept in the history's entry, so that they outlive the page's loading itself again.
  const kept = history.state?.stores
  let sort = kept?.sort ?? {by: "cents", descending: true}
  if (kept) search.value = kept.search
  const keep = () => history.replaceState({...history.state, stores: {sort, search: search.value}}, "")
  let source, total = 0, largest = 0, held = -Infinity, waiting = false

  const cell = (tr, className) => {
    const td = tr.insertCell()
    td.role = "cell"
    if (className) td.className = className
    return td
  }

  const make = (store) => {
    const tr = document.createElement("tr")
    tr.role = "row"
    const head = document.createElement("th")
    head.scope = "row"
    head.role = "rowheader"
    const link = document.createElement("a")
    link.href = table.dataset.store + encodeURIComponent(store)
    link.textContent = store || "(no name)"
    head.append(link)
    tr.append(head)
    const cells = {cents: cell(tr), share: cell(tr, "share wide"), count: cell(tr), basket: cell(tr, "wide")}
    return {store, words: store.toLowerCase(), tr, cells, cents: NaN, count: NaN, basket: 0, share: 0, said: "", part: ""}
  }

  const write = (element, text) => { if (element.textContent !== text) element.textContent = text }

  // From the source to the rows. Only what reads otherwise than before is written.
  const read = () => {
    const {store, cents, count} = source.data
    total = 0
    for (const each of cents) total += each
    const known = new Set(store)
    for (const name of [...rows.keys()]) {
      if (!known.has(name)) { rows.get(name).tr.remove(); rows.delete(name) }
    }
    largest = 0
    for (const each of cents) largest = Math.max(largest, each)
    for (let at = 0; at < store.length; at++) {
      let row = rows.get(store[at])
      if (row === undefined) {
        row = make(store[at])
        rows.set(row.store, row)
        row.tr.hidden = !matches(row)
        body.append(row.tr)
      }
      row.share = total > 0 && cents[at] >= 0 ? cents[at] / total : 0
      if (row.cents !== cents[at] || row.count !== count[at]) {
        row.cents = cents[at]
        row.count = count[at]
        row.basket = row.count > 0 ? row.cents / row.count : 0
        row.cells.cents.textContent = amounts.format(row.cents / 100)
        row.cells.count.textContent = counts.format(row.count)
        row.cells.basket.textContent = row.count > 0 ? amounts.format(row.basket / 100) : "–"
      }
      const said = total > 0 && row.cents >= 0 ? shares.format(row.share) : "–"
      if (said !== row.said) row.cells.share.textContent = row.said = said
      const part = largest > 0 ? Math.max(0, row.cents / largest).toFixed(2) : "0"
      if (part !== row.part) row.cells.share.style.setProperty("--part", row.part = part)
    }
  }

  const order = () => {
    const way = sort.descending ? -1 : 1
    const by = sort.by
    const name = (one, other) => collator.compare(one.store, other.store)
    const sorted = [...rows.values()].sort(by === "store"
      ? (one, other) => way * name(one, other)
      : (one, other) => way * (one[by] - other[by]) || name(one, other))
    // Rows that are in their place stay there: moving them all would lose the focus and the browser's layout.
    let next = body.firstElementChild
    for (const row of sorted) {
      if (row.tr === next) next = next.nextElementSibling
      else body.insertBefore(row.tr, next)
    }
  }

  const matches = (row) => words().every((word) => row.words.includes(word))
  const words = () => search.value.toLowerCase().split(/\s+/).filter(Boolean)

  const filter = () => {
    const wanted = words()
    let found = 0
    for (const row of rows.values()) {
      const fits = wanted.every((word) => row.words.includes(word))
      if (row.tr.hidden === fits) row.tr.hidden = !fits
      if (fits) found++
    }
    say(found)
  }

  const say = (found) => {
    const searched = words().length > 0
    write(shown, searched ? `${counts.format(found)} of ${counts.format(rows.size)} stores` : "")
    none.hidden = found > 0
    if (found > 0) return
    write(none, rows.size === 0
      ? "No store has a receipt of this day yet. A store appears here with its first one."
      : "No store of this day has a name like that. Stores appear with their first receipt of the day.")
  }

  const mark = () => {
    for (const head of table.tHead.rows[0].cells) {
      if (head.dataset.by === sort.by) head.setAttribute("aria-sort", sort.descending ? "descending" : "ascending")
      else head.removeAttribute("aria-sort")
    }
  }

  // Whether somebody reads, points at or moves within the rows right now: then figures change, but rows stay.
  const busy = () => body.matches(":hover, :focus-within") || performance.now() - held < HOLD

  const settle = () => {
    if (waiting) return
    if (!busy()) { order(); return }
    waiting = true
    setTimeout(() => { waiting = false; settle() }, 500)
  }

  const update = () => {
    read()
    filter()
    settle()
    table.dataset.ready = "yes"
  }

  let due = false
  const soon = () => {
    if (due) return
    due = true
    setTimeout(() => { due = false; update() })
  }

  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button").addEventListener("click", () => {
      const by = head.dataset.by
      sort = {by, descending: sort.by === by ? !sort.descending : by !== "store"}
      mark()
      order()
      keep()
    })
  }
  search.addEventListener("input", () => { filter(); keep() })
  search.form.addEventListener("submit", (event) => event.preventDefault())
  for (const event of ["scroll", "touchmove", "wheel"]) {
    addEventListener(event, () => { held = performance.now() }, {passive: true})
  }
  mark()

  const finding = setInterval(() => {
    const model = window.Bokeh?.documents?.[0]?.get_model_by_name("stores")
    if (!model) return
    clearInterval(finding)
    source = model.tags.find((tag) => tag?.data?.store !== undefined)
    source.patching.connect(soon)
    source.streaming.connect(soon)
    source.properties.data.change.connect(soon)
    update()
  }, 50)
}
