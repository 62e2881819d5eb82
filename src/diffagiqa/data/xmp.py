"""XMP packets: our properties in and out of them, every other byte as it was.

A packet is parsed to find places in it, never written anew: our ``rdf:Description`` is put before the end
of ``rdf:RDF``, and a rating that is there changes in place and is remembered. Packets come from
strangers: no document type is accepted, so there are no entities, and the size is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import quoteattr, unescape

from diffagiqa.errors import ImageError

NAMESPACE = "urn:x-diffagiqa:scores:1.0/"
MAX_PACKET = 4_000_000  # bytes
GIVEN, BEFORE = "ratingGiven", "ratingBefore"
"""Our properties that undo a rating: what we gave, and what another had given before."""
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_OPENING = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
).encode()
_CLOSING = b'</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
_ENTITIES = {"&quot;": '"', "&apos;": "'", "&#9;": "\t", "&#10;": "\n", "&#13;": "\r"}
"""What ``quoteattr`` writes, besides those that ``unescape`` knows by itself."""
_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_ATTRIBUTE = re.compile(rb"""(?<!\s)\s+([^\s=<>"']+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def add_properties(packet: bytes | None, rating: int, properties: Mapping[str, str]) -> bytes:
    """A packet with a rating and our properties, in place of those that it had from us.

    Args:
        packet: the packet that is there; None: none is.
        rating: 1 to 5, as ``xmp:Rating``.
        properties: name -> text in our ``NAMESPACE``; names are XML's, without a colon.

    Raises:
        ImageError: the packet is no XMP that can be changed.
    """
    bare = None if packet is None else remove_properties(packet)
    packet = _OPENING + _CLOSING if bare is None else bare
    contents = _parsed(packet)
    ours = {**properties, GIVEN: str(rating)}
    rated = f' xmlns:xmp="{_XMP}" xmp:Rating="{rating}"'
    if contents.rating is not None:
        start, end = contents.rating.value
        ours[BEFORE], rated = packet[start:end].decode(), ""
    texts = "".join(f" diffagiqa:{name}={quoteattr(value)}" for name, value in ours.items())
    element = (
        f"<rdf:Description xmlns:rdf={quoteattr(_RDF)} rdf:about={quoteattr(contents.about)}{rated} "
        f"xmlns:diffagiqa={quoteattr(NAMESPACE)}{texts}/>"
    )
    changes = [((contents.end, contents.end), element.encode())]
    if contents.rating is not None:
        changes.append((contents.rating.value, str(rating).encode()))
    return _changed(packet, changes)


def remove_properties(packet: bytes) -> bytes | None:
    """A packet as it was before ``add_properties``; None where nothing but ours was in it.

    A rating that was changed since is left.

    Raises:
        ImageError: the packet is no XMP that can be changed.
    """
    contents = _parsed(packet)
    changes = [(cut, b"") for cut in contents.ours]
    rating, given = contents.rating, contents.properties.get(GIVEN)
    if rating is not None and given == packet[slice(*rating.value)].decode():
        before = contents.properties.get(BEFORE)
        changes.append((rating.whole, b"") if before is None else (rating.value, before.encode()))
    bare = _changed(packet, changes)
    return None if bare == _OPENING + _CLOSING else bare


def read_properties(packet: bytes) -> dict[str, str]:
    """Our properties in a packet, empty where there are none."""
    return _parsed(packet).properties


_Span = tuple[int, int]  # bytes of the packet: from, to


def _changed(packet: bytes, changes: list[tuple[_Span, bytes]]) -> bytes:
    pieces, done = [], 0
    for (start, end), text in sorted(changes):
        pieces += [packet[done:start], text]
        done = end
    return b"".join([*pieces, packet[done:]])


class _Property(NamedTuple):
    """A simple property, written as an attribute or as an element."""

    name: str  # "namespace name"
    whole: _Span
    value: _Span


@dataclass
class _Contents:
    """What is where in a packet.

    Attributes:
        end: byte at which ``rdf:RDF`` ends.
        about: what the descriptions say they are about.
        rating: another's ``xmp:Rating``, or ours where another program has put it among its own.
        ours: what to cut, so that nothing of ours is left but that rating.
        properties: ours by name.
    """

    end: int = -1
    about: str = ""
    rating: _Property | None = None
    ours: list[_Span] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)


def _parsed(packet: bytes) -> _Contents:
    if len(packet) > MAX_PACKET:
        raise ImageError(f"its XMP has over {MAX_PACKET:,} bytes; use --sidecar")
    reader = _Reader(packet)
    try:
        packet.decode()
        reader.parser.Parse(packet.rstrip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, ValueError) as fault:  # UnicodeDecodeError is a ValueError
        raise ImageError(f"its XMP cannot be read ({fault}); use --sidecar") from None
    if reader.contents.end < 0:
        raise ImageError("its XMP holds no rdf:RDF with an end tag; use --sidecar")
    return reader.contents


class _Reader:
    """Fills the contents. Descriptions are the children of ``rdf:RDF``, properties their attributes and
    children."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.contents = _Contents()
        self.open: list[tuple[str, int]] = []  # name and start of the elements that have not ended
        self.prefixes: dict[str | None, list[str]] = {}
        self.within: list[_Property] = []  # properties of the description that has not ended
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.XmlDeclHandler = self._declared
        self.parser.StartNamespaceDeclHandler = self._prefix
        self.parser.EndNamespaceDeclHandler = lambda prefix: self.prefixes[prefix].pop()
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._finish

    def _refuse(self, *_: object) -> None:
        raise ValueError("it has a document type")

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if (encoding or "utf-8").lower() != "utf-8":
            raise ValueError(f"it is in {encoding}")

    def _prefix(self, prefix: str | None, uri: str | None) -> None:
        self.prefixes.setdefault(prefix, []).append(uri or "")

    def _in_rdf(self, depth: int) -> bool:
        inside = len(self.open) >= depth and self.open[-depth][0] == f"{_RDF} RDF"
        return inside and self.contents.end < 0

    def _begin(self, name: str, attributes: Mapping[str, str]) -> None:
        start = self.parser.CurrentByteIndex
        if self._in_rdf(1):
            self.within = list(self._attributes(start))
            self.contents.about = self.contents.about or attributes.get(f"{_RDF} about", "")
        self.open.append((name, start))

    def _attributes(self, start: int) -> list[_Property]:
        tag = _TAG.match(self.packet, start)
        properties = []
        for match in _ATTRIBUTE.finditer(tag[0] if tag else b""):
            prefix, _, local = match[1].decode().partition(":")
            uri = (self.prefixes.get(prefix) or [""])[-1]  # an attribute without a prefix has none
            value = match.span(2) if match[2] is not None else match.span(3)
            if uri and f"{uri} {local}" != f"{_RDF} about":
                spans = [(start + a, start + b) for a, b in (match.span(), value)]
                properties.append(_Property(f"{uri} {local}", *spans))
        return properties

    def _finish(self, name: str) -> None:
        at = self.parser.CurrentByteIndex
        _, start = self.open.pop()
        opening = _TAG.match(self.packet, start)
        content = opening.end() if opening else at
        empty = self.packet.endswith(b"/>", start, content)
        closing = None if empty else _TAG.match(self.packet, at)
        whole = (start, closing.end() if closing else content)
        if name == f"{_RDF} RDF" and closing and self.contents.end < 0:
            self.contents.end = at
        elif self._in_rdf(1):  # also where an rdf:RDF stands in another
            self._describe(whole)
        elif self._in_rdf(2):
            self.within.append(_Property(name, whole, (content, at if closing else content)))

    def _describe(self, whole: _Span) -> None:
        """Sort the properties of a description that ends: ours, a rating, others."""
        contents = self.contents
        ours = [entry for entry in self.within if entry.name.startswith(f"{NAMESPACE} ")]
        for entry in ours:
            contents.properties[entry.name.rpartition(" ")[2]] = self._text(entry)
        ratings = [entry for entry in self.within if entry.name == f"{_XMP} Rating"]
        given = [contents.properties.get(GIVEN)] if BEFORE not in contents.properties else []
        if ours and all(self._text(entry) in given for entry in ratings) and (
            len(ours) + len(ratings) == len(self.within)
        ):  # fmt: skip
            contents.ours.append(whole)
        else:
            contents.ours += [entry.whole for entry in ours]
            contents.rating = ratings[0] if ratings else contents.rating

    def _text(self, entry: _Property) -> str:
        return unescape(self.packet[slice(*entry.value)].decode(), _ENTITIES)
