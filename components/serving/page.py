"""The page at /docs: the routes of an OpenAPI document as plain HTML, which loads nothing else."""

from html import escape
from typing import Any

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.2em}td{padding:0 1rem 0 0;vertical-align:top}"
    ":root{color-scheme:light dark}"
)


def page(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    title = escape(document["info"]["title"])
    routes = "".join(
        _route(path, method, route) for path, methods in document["paths"].items() for method, route in methods.items()
    )
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    start = f'<h1>{title} {escape(document["info"]["version"])}</h1><p><a href="openapi.json">openapi.json</a></p>'
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{start}{routes}</body></html>'
    )


def _route(path: str, method: str, route: dict[str, Any]) -> str:
    rows = [(f"?{each['name']}=", _choices(each["schema"])) for each in route.get("parameters", ())]
    if body := route.get("requestBody"):
        rows.append(("body", f"{', '.join(body['content'])}: {body['description']}"))
    for status, answer in route["responses"].items():
        rows.append((status, answer["description"]))
        rows += [(name, header["description"]) for name, header in answer.get("headers", {}).items()]
    table = "".join(f"<tr><td><code>{escape(left)}</code></td><td>{escape(right)}</td></tr>" for left, right in rows)
    name = f"<code>{escape(method.upper())} {escape(path)}</code>"
    return f"<h2>{name}</h2><p>{escape(route.get('summary', ''))}</p><table>{table}</table>"


def _choices(schema: dict[str, Any]) -> str:
    limits = f"{schema.get('minimum')} to {schema.get('maximum')}" if "minimum" in schema else schema.get("type", "")
    choices = ", ".join(map(str, schema["enum"])) if "enum" in schema else limits
    return f"{choices}; {schema['default']} by default" if "default" in schema else choices
