"""The description of the HTTP interface for people: one page, made here from the OpenAPI document, served as /docs.

It asks nothing of other hosts, runs no script, and follows the reader's light or dark mode.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

import msgspec

from entrypoint.problems import PROBLEM_TYPES

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #56616d; --paper: #fff; --box: #f4f6f8; --line: #d8dee4;
  --get: #0b6bcb; --post: #18794e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #9aa7b4; --paper: #14181c; --box: #1e242a;
  --line: #343d46; --get: #6cb2f7; --post: #5cc794; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 5rem; font: 16px/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { margin: 0 0 .25rem } h2 { margin: 2.5rem 0 .75rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem } p { margin: .5rem 0 } .soft { color: var(--soft) }
a { color: var(--get) } code { font: .875em/1.45 ui-monospace, monospace; background: var(--box);
  padding: .1em .3em; border-radius: .25rem }
pre { background: var(--box); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  overflow-x: auto } pre code { background: none; padding: 0 }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .6rem 0 }
summary { cursor: pointer; padding: .6rem .9rem } details > div { padding: 0 .9rem .9rem; overflow-x: auto }
.method { display: inline-block; min-width: 3.5rem; font-weight: 700 } .get { color: var(--get) }
.post { color: var(--post) }
table { border-collapse: collapse; width: 100%; font-size: .925rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-top: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; border-top: 0 }
"""


def docs_page(document_json: bytes) -> bytes:
    """The page of an OpenAPI document."""
    document = msgspec.json.decode(document_json)
    info = document["info"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<link rel=icon href='data:,'>",
        f"<style>{_STYLE}</style><main>",
        f"<h1>{escape(info['title'])}</h1><p class=soft>{_prose(info['summary'])}</p>",
        f"<p>{_prose(info['description'])} The same for programs: <a href='/openapi.json'>openapi.json</a>.</p>",
        *_tagged(document),
        *_schemas(document["components"]["schemas"]),
        *_problems(),
        "</main></html>",
    ]
    return "\n".join(parts).encode()


def _tagged(document: dict[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, method, operation)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield (
        f"<details id='{escape(operation['operationId'])}'><summary><span class='method {method}'>{method.upper()}"
        f"</span> <code>{escape(path)}</code> <span class=soft>{_prose(operation['summary'])}</span></summary><div>"
    )
    if "description" in operation:
        yield f"<p>{_prose(operation['description'])}</p>"
    if "security" in operation:
        yield "<p class=soft>With a token, where the entrypoint has any: <code>Authorization: Bearer …</code></p>"
    if parameters := operation.get("parameters"):
        rows = [
            (
                f"<code>{escape(each['name'])}</code>",
                each["in"],
                _type(each["schema"]),
                _prose(each.get("description", "")),
            )
            for each in parameters
        ]
        yield _table(("Parameter", "In", "Type", ""), rows)
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Body <code>{escape(content_type)}</code></h3><p>{_type(content['schema'])}</p>"
        if "example" in content:
            yield _example(content["example"])
    answers = []
    for status, response in operation["responses"].items():
        forms = response.get("content", {}).items()
        answers.append(
            (
                f"<code>{status}</code>",
                _prose(response["description"]),
                "<br>".join(f"<code>{escape(name)}</code> {_type(form['schema'])}" for name, form in forms),
            )
        )
    yield _table(("Answer", "Meaning", "Body"), answers)
    yield "</div></details>"


def _schemas(schemas: dict[str, Any]) -> Iterator[str]:
    yield "<h2>Schemas</h2>"
    for name, schema in schemas.items():
        yield f"<details id='schema-{escape(name)}'><summary><code>{escape(name)}</code></summary><div>"
        if "description" in schema:
            yield f"<p>{_prose(schema['description'])}</p>"
        if "properties" in schema:
            rows = [
                (
                    f"<code>{escape(field)}</code>",
                    _type(inner),
                    "required" if field in schema.get("required", ()) else "",
                    _prose(inner.get("description", "")),
                )
                for field, inner in schema["properties"].items()
            ]
            yield _table(("Field", "Type", "", ""), rows)
        else:
            yield f"<p>{_type(schema)}</p>"
        for example in schema.get("examples", ()):
            yield _example(example)
        yield "</div></details>"


def _problems() -> Iterator[str]:
    yield "<h2>Problems</h2><p>The <code>type</code> of a problem document points here.</p>"
    rows = [
        (
            f"<code id='problem-{kind.slug}'>{kind.slug}</code>",
            f"<code>{kind.status}</code>",
            f"<b>{_prose(kind.title)}.</b> {_prose(kind.meaning)}",
        )
        for kind in PROBLEM_TYPES
    ]
    yield _table(("Type", "Status", "Meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words; a link where it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#schema-{escape(name)}'>{escape(name)}</a>"
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return " or ".join(_type(each) for each in schema[choice])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"array of {_type(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of name → {_type(schema['additionalProperties'])}"
    if kind == "object" and "properties" in schema:
        return (
            "{ " + ", ".join(f"{escape(name)}: {_type(inner)}" for name, inner in schema["properties"].items()) + " }"
        )
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "format" in schema:
        words += f" ({schema['format']})"
    if "minimum" in schema and "maximum" in schema:
        words += f", {schema['minimum']:,.0f} to {schema['maximum']:,.0f}"
    return escape(words)


def _example(value: Any) -> str:
    if isinstance(value, str):
        text = "\n".join(f"{line[:110]}…" if len(line) > 110 else line for line in value.splitlines())
    else:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"<pre><code>{escape(text)}</code></pre>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _prose(text: str) -> str:
    """Text as HTML; `code` between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
