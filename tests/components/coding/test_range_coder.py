import numpy as np
import pytest

from components.coding.range_coder import TOTAL, EndOfPrefixError, Ints, PrefixDecoder, SymbolDecoder, SymbolEncoder
from components.errors import BitstreamError


def table(size: int, seed: int) -> Ints:
    """Positive frequencies with sum TOTAL, of very different sizes."""
    weights = np.random.default_rng(seed).exponential(size=size) ** 4
    frequencies: Ints = (1 + np.floor(weights / weights.sum() * (TOTAL - size))).astype(np.int32)
    frequencies[frequencies.argmax()] += TOTAL - frequencies.sum()
    return frequencies


@pytest.mark.parametrize("seed", range(8))
def test_round_trip_of_a_mixture(seed: int) -> None:
    random = np.random.default_rng(seed)
    encoder = SymbolEncoder()
    parts: list[tuple[Ints, int, Ints | None]] = []
    for k in range(20):
        if k % 3 == 0:
            size = int(random.choice([2, 3, 97, 2**21, 2**24]))
            values = random.integers(0, size, random.integers(0, 30)).astype(np.int32)
            encoder.encode_uniform(values, size)
            parts.append((values, size, None))
        else:
            frequencies = table(int(random.integers(2, 500)), seed + k)
            values = random.integers(0, len(frequencies), random.integers(0, 200)).astype(np.int32)
            encoder.encode(values, frequencies)
            parts.append((values, 0, frequencies))
    decoder = SymbolDecoder(encoder.finish())
    for values, size, frequencies_used in parts:
        count = len(values)
        got = (
            decoder.decode_uniform(count, size) if frequencies_used is None else decoder.decode(count, frequencies_used)
        )
        assert got.dtype == np.int32
        assert np.array_equal(got, values)


def test_bytes_are_close_to_the_ideal_and_never_below() -> None:
    frequencies = table(300, 0)
    symbols = np.random.default_rng(1).choice(300, 50_000, p=frequencies / TOTAL).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.encode(symbols, frequencies)
    ideal = float(-np.log2(frequencies[symbols] / TOTAL).sum())
    bits = 8 * len(encoder.finish())
    assert ideal <= bits <= 1.0005 * ideal + 64


def test_symbols_of_one_unit_survive() -> None:
    frequencies = np.array([1, TOTAL - 2, 1], dtype=np.int32)
    symbols = np.array([0, 2, 1, 0, 0, 2], dtype=np.int32)
    encoder = SymbolEncoder()
    encoder.encode(symbols, frequencies)
    data = encoder.finish()
    assert 8 * len(data) >= 5 * 16
    assert np.array_equal(SymbolDecoder(data).decode(6, frequencies), symbols)


def test_no_symbols_take_at_most_a_word() -> None:
    assert len(SymbolEncoder().finish()) <= 4


@pytest.mark.parametrize("length", [1, 2, 3, 5, 1001])
def test_bytes_that_are_not_words_are_refused(length: int) -> None:
    with pytest.raises(BitstreamError, match="whole words"):
        SymbolDecoder(bytes(length))


def test_garbage_is_a_bitstream_error_or_symbols_of_the_table() -> None:
    """Never another exception, never a symbol that the table does not have."""
    random, frequencies, refused = np.random.default_rng(2), table(40, 3), 0
    for _ in range(300):
        decoder = SymbolDecoder(random.bytes(4 * int(random.integers(0, 6))))
        try:
            symbols = decoder.decode(200, frequencies)
            wide = decoder.decode_uniform(50, 1 << 21)
        except BitstreamError:
            refused += 1
        else:
            assert 0 <= symbols.min() <= symbols.max() < 40
            assert 0 <= wide.min() <= wide.max() < 1 << 21
    assert refused < 300, "zero words are legal"


def test_a_wrong_word_is_noticed_by_the_decoder() -> None:
    """A first word of ones is outside what the encoder's own intervals can give for some tables."""
    lost = 0
    for word in (b"\xff" * 4, b"\xff" * 8, b"\xff" * 400):
        decoder = SymbolDecoder(word)
        try:
            decoder.decode_uniform(100, 3)
        except BitstreamError:
            lost += 1
    assert lost > 0


def determined_by(prefix: bytes, frequencies: Ints) -> Ints:
    """The symbols that a prefix decides."""
    try:
        return PrefixDecoder(prefix).decode_each(frequencies)
    except EndOfPrefixError as end:
        return end.decoded


@pytest.mark.parametrize("seed", range(6))
def test_every_prefix_gives_the_symbols_that_it_decides(seed: int) -> None:
    """Never a wrong one, no more than a few bits late, and all of them from the whole."""
    random = np.random.default_rng(seed)
    frequencies = np.stack([table(3, 1000 * seed + k) for k in range(1200)])
    symbols = np.array([random.choice(3, p=row / TOTAL) for row in frequencies], dtype=np.int32)
    encoder = SymbolEncoder()
    encoder.encode_each(symbols, frequencies)
    data = encoder.finish()
    spent = np.cumsum(-np.log2(frequencies[np.arange(1200), symbols] / TOTAL))
    counts = []
    for length in range(len(data) + 1):
        decoded = determined_by(data[:length], frequencies)
        assert np.array_equal(decoded, symbols[: len(decoded)])
        expected = int(np.searchsorted(spent, 8 * length - 24))  # the next symbol alone may take 16 bits
        assert len(decoded) >= expected
        counts.append(len(decoded))
    assert counts == sorted(counts)
    assert counts[-1] == 1200


def test_symbols_that_a_prefix_determines_do_not_depend_on_later_bytes() -> None:
    frequencies = np.stack([table(3, k) for k in range(500)])
    random = np.random.default_rng(0)
    for _ in range(20):
        data = random.bytes(40)
        decoded = determined_by(data, frequencies)
        for _ in range(5):
            longer = determined_by(data + random.bytes(20), frequencies)
            assert np.array_equal(longer[: len(decoded)], decoded)


def test_a_prefix_of_uniform_values_and_of_one_table() -> None:
    encoder, frequencies = SymbolEncoder(), table(5, 0)
    values = np.arange(50, dtype=np.int32)
    encoder.encode_uniform(values, 1 << 21)
    encoder.encode(values % 5, frequencies)
    data = encoder.finish()
    decoder = PrefixDecoder(data)
    assert np.array_equal(decoder.decode_uniform(50, 1 << 21), values)
    assert np.array_equal(decoder.decode(50, frequencies), values % 5)
    with pytest.raises(EndOfPrefixError) as caught:
        PrefixDecoder(data[:60]).decode_uniform(50, 1 << 21)
    assert np.array_equal(caught.value.decoded, values[: len(caught.value.decoded)])
    assert len(caught.value.decoded) in (21, 22)


def test_a_very_long_run_of_likely_symbols_needs_hardly_a_byte() -> None:
    frequencies = np.tile(np.array([[1, TOTAL - 2, 1]], dtype=np.int32), (50_000, 1))
    encoder = SymbolEncoder()
    encoder.encode_each(np.ones(50_000, dtype=np.int32), frequencies)
    data = encoder.finish()
    assert len(data) <= 8
    assert len(determined_by(data, frequencies)) == 50_000
