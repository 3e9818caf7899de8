"""The pages: Panel and Bokeh, and plain HTML. Imported in the dashboard's thread only, as this takes seconds.

- `dashboard.pages.frame`: what all pages have in common, and where they are
- `dashboard.pages.live`: a page that is kept up to date
- `dashboard.pages.plain`: a page that is made when asked for
- `dashboard.pages.today`, `.receipts`, `.stores`, `.store`, `.system`, `.rejected`: the pages;
  `dashboard.pages.charts`: what they draw
"""
