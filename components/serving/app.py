"""The HTTP of a service: its routes, and one line of JSON for whatever is refused."""

from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .metrics import CONTENT_TYPE
from .page import HEADERS, page
from .refusal import Refusal
from .service import Request as ServiceRequest
from .service import Service

STREAM = "application/octet-stream"
PICTURES = {"png": "image/png", "ppm": "image/x-portable-pixmap"}
_REFUSALS = {
    408: "the body came too slowly",
    409: "the stream was written by a model that the service does not hold",
    413: "too many bytes or pixels",
    415: "not a picture, or not a stream",
    422: "broken, or an option that does not exist",
    429: "too many requests wait; Retry-After says for how many seconds",
    503: "no model, or its worker ended; Retry-After says for how many seconds",
    504: "takes too long",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
    }
    for status, text in _REFUSALS.items()
}
_FACTS = {
    "Ratewright-Codec": "the codec's name",
    "Ratewright-Model": "the hash of its weights, which streams hold",
    "Ratewright-Version": "the version of the model",
    "Ratewright-Width": "of the picture, in pixels",
    "Ratewright-Height": "of the picture, in pixels",
    "Ratewright-Bpp": "size of the stream, in bits per pixel",
}


def create_app(service: Service) -> FastAPI:
    """The routes of a service."""
    app = FastAPI(title="Ratewright", version=_version(), docs_url=None, redoc_url=None)

    @app.post(
        "/compress",
        summary="A picture file to a stream",
        response_class=Response,
        responses={200: _answer(STREAM), **_RESPONSES},
        openapi_extra=_body("image/*", "any format that the command line reads"),
    )
    async def compress(request: Request, effort: Annotated[int, Query(ge=0, le=1)] = 1) -> Response:
        return await _run(service, request, "compress", {"effort": effort}, STREAM)

    @app.post(
        "/decompress",
        summary="A stream to a picture file",
        response_class=Response,
        responses={200: _answer(*PICTURES.values()), **_RESPONSES},
        openapi_extra=_body(STREAM, "a stream that this model or the one before it wrote"),
    )
    async def decompress(request: Request, format: Annotated[Literal["png", "ppm"], Query()] = "png") -> Response:  # noqa: A002
        return await _run(service, request, "decompress", {"format": format}, PICTURES[format])

    @app.get("/health", summary="The model in use; 503 while there is none, and while the service stops")
    async def health() -> JSONResponse:
        well, facts = service.health()
        return JSONResponse(facts, 200 if well else 503)

    @app.get("/metrics", summary="Counters, for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers=HEADERS)

    @app.exception_handler(HTTPException)
    async def no_route(_request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def no_option(_request: Request, error: RequestValidationError) -> Response:
        return _refused(Refusal(422, "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())))

    return app


async def _run(service: Service, request: Request, work: str, options: dict[str, Any], kind: str) -> Response:
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdecimal() else None
    try:
        asked = ServiceRequest(work, options, length, _chunks(request), request.is_disconnected)
        facts, answer = await service.answer(asked)
    except Refusal as refusal:
        return _refused(refusal)
    values = (*(facts[key] for key in ("codec", "model", "version", "width", "height")), f"{facts['bpp']:.4f}")
    return Response(answer, media_type=kind, headers=dict(zip(_FACTS, map(str, values), strict=True)))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Refusal(499, "the client has left") from None


def _refused(refusal: Refusal) -> Response:
    headers = None if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return JSONResponse({"error": refusal.text}, refusal.status, headers)


def _body(kind: str, text: str) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "description": text, "content": {kind: binary}}}


def _answer(*kinds: str) -> dict[str, Any]:
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in _FACTS.items()}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "done", "headers": headers, "content": dict.fromkeys(kinds, binary)}


def _version() -> str:
    try:
        return version("ratewright")
    except PackageNotFoundError:
        return "unknown"
