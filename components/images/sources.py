"""Where data comes from: bundled photographs, a folder, http(s), s3, behind one protocol."""

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from components.errors import MissingError, SourceError, one_line
from components.files import replacing

ATTEMPTS = 5
"""How often a transient failure is tried before it is reported."""
BACKOFF_S = 0.5
"""Seconds before the second attempt; doubled before each further one, and up to as much added at random."""
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"),
    *(".gif", ".ppm", ".pgm", ".pnm", ".jp2", ".avif"),
)

_BUNDLED = (("skimage", "data"), ("sklearn", "datasets/images"))
_CHUNK = 1 << 20
_PARTIAL, _BEYOND_THE_END = 206, 416  # of HTTP's answers to a request for a range

Names = list[str]
T = TypeVar("T")


class Source(Protocol):
    """Files by name. Names are relative, with `/` between folders. Safe to use from several threads."""

    def list(self) -> Names:
        """All names, sorted. SourceError where the source cannot tell."""

    def download(self, name: str, path: Path) -> None:
        """Write the file to `path`, whole or not at all. SourceError says what is missing, and where."""

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes (1 or more; None: all) from `offset` on, fewer only where the file ends, and none beyond it.

        SourceError as above.
        """

    def fingerprint(self, name: str) -> str:
        """A short string that changes when the file does, told without a download. SourceError as above."""

    def close(self) -> None:
        """Give connections back."""


def open_source(location: str) -> Source:
    """The source at `location`: `bundled`, a folder (path or file://), an http(s):// or an s3://bucket/prefix.

    Nothing is contacted yet, but a folder must exist. Raises SourceError otherwise, or for another scheme.
    """
    if location == "bundled":
        return Bundled()
    scheme = location.partition("://")[0].lower() if "://" in location else ""
    match scheme:
        case "http" | "https":
            return Http(location)
        case "s3":
            return S3(location)
        case "file":
            return Folder(Path(url2pathname(urlsplit(location).path)))
        case "":
            return Folder(Path(location).expanduser())
    raise SourceError(f"{location}: unknown kind of source (bundled, a folder, file://, http(s):// or s3://)")


def checked_name(name: str) -> str:
    """`name`, if it stays inside its source. Raises SourceError."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise SourceError(f"{name!r} is not a file name inside a source")
    return name


class Folder:
    """The files under a folder; hidden ones are left out."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceError(f"{root}: no such folder")
        self.root = root

    def list(self) -> Names:
        """All names, sorted."""
        names = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(folder).relative_to(self.root)
            names += [(inside / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(names)

    def download(self, name: str, path: Path) -> None:
        """Copy the file to `path`."""
        with replacing(path) as temporary, _reading(self._find(name)):
            shutil.copyfile(self._find(name), temporary)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A range of the file."""
        return _range_of(self._find(name), offset, size)

    def fingerprint(self, name: str) -> str:
        """Size and time of change."""
        with _reading(self._find(name)):
            status = self._find(name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def close(self) -> None:
        """Nothing to give back."""

    def _find(self, name: str) -> Path:
        path = self.root / checked_name(name)
        if not path.is_file():
            raise MissingError(f"{path}: no such file")
        return path


class Bundled:
    """The photographs inside the scikit-image and scikit-learn wheels, neither of which is imported."""

    def __init__(self) -> None:
        self._folders = []
        for package, inside in _BUNDLED:
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.submodule_search_locations:
                self._folders.append(Path(spec.submodule_search_locations[0]) / inside)

    def list(self) -> Names:
        """All names, sorted."""
        files = (path for folder in self._folders if folder.is_dir() for path in folder.iterdir())
        return sorted({path.name for path in files if path.suffix.lower() in PICTURE_SUFFIXES})

    def download(self, name: str, path: Path) -> None:
        """Copy the photograph to `path`."""
        with replacing(path) as temporary, _reading(self._find(name)):
            shutil.copyfile(self._find(name), temporary)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A range of the photograph's file."""
        return _range_of(self._find(name), offset, size)

    def fingerprint(self, name: str) -> str:
        """The file's own hash: a time of change would only tell when the wheel was installed."""
        return hashlib.sha256(self._find(name).read_bytes()).hexdigest()

    def close(self) -> None:
        """Nothing to give back."""

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            path = folder / checked_name(name)
            if path.is_file():
                return path
        raise SourceError(f"bundled: neither scikit-image nor scikit-learn holds {name}")


class Http:
    """Files under a web address; proxies come from the usual environment variables."""

    def __init__(self, base: str) -> None:
        import httpx

        self._base = base.rstrip("/") + "/"
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(60, connect=15),
            headers={"accept-encoding": "identity", "user-agent": "ratewright"},
        )

    def list(self) -> Names:
        """Always SourceError: the web has no directory listing to rely on."""
        raise SourceError(f"{self._base}: cannot be listed; give a manifest or an explicit list of files")

    def download(self, name: str, path: Path) -> None:
        """Stream the file to `path`; an interrupted attempt starts it again."""
        url = self._url(name)
        with replacing(path) as temporary:
            _retrying(lambda: self._stream(url, temporary))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A range of the file: of a server that knows no ranges, the beginning of the file is taken up to its end."""
        url = self._url(name)
        return _retrying(lambda: self._range(url, offset, size))

    def fingerprint(self, name: str) -> str:
        """The ETag, or else the date and length that a HEAD request tells."""
        url = self._url(name)
        headers: dict[str, str] = _retrying(lambda: self._head(url))
        known = [headers[key] for key in ("last-modified", "content-length") if key in headers]
        return headers.get("etag") or "-".join(known)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _url(self, name: str) -> str:
        return self._base + quote(checked_name(name))

    def _stream(self, url: str, path: Path) -> None:
        # A body shorter than its Content-Length is a RemoteProtocolError, hence tried again.
        with self._errors(url), self._client.stream("GET", url) as response:
            _check_status(url, response.status_code, response.reason_phrase)
            with path.open("wb") as file:
                for chunk in response.iter_bytes(_CHUNK):
                    file.write(chunk)

    def _range(self, url: str, offset: int, size: int | None) -> bytes:
        data = bytearray()
        headers = {"range": _range_header(offset, size)}
        with self._errors(url), self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == _BEYOND_THE_END:
                return b""
            _check_status(url, response.status_code, response.reason_phrase)
            before = 0 if response.status_code == _PARTIAL else offset
            for chunk in response.iter_bytes():
                data += chunk[before:]
                before = max(0, before - len(chunk))
                # An answer of just the range is read to its end, which keeps the connection.
                if size is not None and len(data) > size:
                    break
        return bytes(data[:size])

    def _head(self, url: str) -> dict[str, str]:
        with self._errors(url):
            response = self._client.head(url)
            _check_status(url, response.status_code, response.reason_phrase)
            return {key.lower(): value for key, value in response.headers.items()}

    @contextmanager
    def _errors(self, url: str) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TransportError as error:
            raise _TransientError(f"{url}: {one_line(error)}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"{url}: {one_line(error)}") from error


class S3:
    """Objects under a prefix; endpoint, profile and credentials come from the usual AWS places."""

    def __init__(self, location: str) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        self._bucket, _, prefix = location.partition("://")[2].partition("/")
        self._prefix = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
        if not self._bucket:
            raise SourceError(f"{location}: names no bucket")
        # Our own retries cover the body too, which botocore's do not.
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=15, read_timeout=60, max_pool_connections=32)
        try:
            self._client: Any = boto3.session.Session().client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise SourceError(f"{location}: {one_line(error)}") from error

    def list(self) -> Names:
        """All names, sorted."""
        return _retrying(self._list)

    def download(self, name: str, path: Path) -> None:
        """Stream the object to `path`; an interrupted attempt starts it again."""
        key = self._prefix + checked_name(name)
        with replacing(path) as temporary:
            _retrying(lambda: self._stream(key, temporary))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """A range of the object."""
        key = self._prefix + checked_name(name)
        return _retrying(lambda: self._range(key, offset, size))

    def upload(self, path: Path, name: str) -> None:
        """Store the file as an object, which appears whole or not at all."""
        key = self._prefix + checked_name(name)
        _retrying(lambda: self._put(path, key))

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        try:
            self.fingerprint(name)
        except MissingError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Delete the object, if there is one."""
        key = self._prefix + checked_name(name)
        _retrying(lambda: self._delete(key))

    def fingerprint(self, name: str) -> str:
        """The object's ETag."""
        key = self._prefix + checked_name(name)
        return _retrying(lambda: self._head(key))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self) -> Names:
        names: Names = []
        with self._errors(self._prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                names += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", [])]
        # A key that ends in / is a folder drawn by some console.
        return sorted(name for name in names if name and not name.endswith("/"))

    def _stream(self, key: str, path: Path) -> None:
        with self._errors(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body, path.open("wb") as file:
                for chunk in body.iter_chunks(_CHUNK):
                    file.write(chunk)

    def _range(self, key: str, offset: int, size: int | None) -> bytes:
        from botocore.exceptions import ClientError

        with self._errors(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=_range_header(offset, size))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == _BEYOND_THE_END:
                    return b""
                raise
            with closing(answer["Body"]) as body:
                return bytes(body.read())

    def _put(self, path: Path, key: str) -> None:
        from boto3.exceptions import S3UploadFailedError

        with self._errors(key):
            try:
                self._client.upload_file(str(path), self._bucket, key)
            except S3UploadFailedError as error:  # boto3 hides what botocore said
                raise error.__context__ or error from None

    def _delete(self, key: str) -> None:
        with self._errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _head(self, key: str) -> str:
        with self._errors(key):
            return str(self._client.head_object(Bucket=self._bucket, Key=key)["ETag"]).strip('"')

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        from botocore import exceptions as aws

        where = f"s3://{self._bucket}/{key}"
        try:
            yield
        except aws.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if code == "NoSuchBucket":
                raise SourceError(f"s3://{self._bucket}: no such bucket") from error
            if code in ("SlowDown", "RequestTimeout", "Throttling"):
                raise _TransientError(f"{where}: {code}") from error
            _check_status(where, status, code if not code.isdigit() else "")
            raise SourceError(f"{where}: {one_line(error)}") from error
        except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
            hint = "set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
            raise SourceError(f"{where}: no complete AWS credentials ({hint})") from error
        except (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError) as error:
            raise _TransientError(f"{where}: {one_line(error)}") from error
        except aws.BotoCoreError as error:
            raise SourceError(f"{where}: {one_line(error)}") from error


class _TransientError(Exception):
    """Worth another attempt."""


def _retrying(attempt: Callable[[], T]) -> T:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    attempts = Retrying(
        retry=retry_if_exception_type(_TransientError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(initial=BACKOFF_S, max=30, jitter=BACKOFF_S),
        reraise=True,
    )
    try:
        return attempts(attempt)
    except _TransientError as error:
        raise SourceError(f"{error} (tried {ATTEMPTS} times)") from error


def _check_status(where: str, status: int, reason: str) -> None:
    said = f"{where}: {status} {reason}".rstrip()
    if status in (408, 429) or status >= 500:
        raise _TransientError(said)
    if status >= 400:
        raise (MissingError if status == 404 else SourceError)(said)


def _range_header(offset: int, size: int | None) -> str:
    return f"bytes={offset}-{'' if size is None else offset + size - 1}"


def _range_of(path: Path, offset: int, size: int | None) -> bytes:
    with _reading(path), path.open("rb", buffering=0) as file:
        file.seek(offset)
        return (file.readall() if size is None else file.read(size)) or b""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in one line that a file may not be read."""
    try:
        yield
    except PermissionError as error:
        raise SourceError(f"{path}: may not be read") from error
