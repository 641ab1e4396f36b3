"""Rows and JSON of the nouns: which columns a dataclass has, how its values are written, and how it is read back.

All of it derives from the names and types of the fields, once for each class, so that a new column is a new field and
its upgrade of the schema. Enums and booleans are stored as what they are made of; tuples and mappings as JSON, NULL if
they are empty; a dataclass within a dataclass as columns of its own, all NULL if there is none.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import EnumType
from functools import cache, partial
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, cast, get_args, get_origin

from sandbox.store.database import Queries, Tx

T = TypeVar("T")
Decoder = Callable[[Any], Any]
Encoder = Callable[[Any], Sequence[Any]]  # a field's value -> the values of its columns

_NONE: Mapping[str, Any] = {}


# JSON ----------------------------------------------------------------------------------------------------------------


def values_of(noun: Any) -> dict[str, Any]:
    """The values of a dataclass by the names of its fields."""
    return {each.name: getattr(noun, each.name) for each in fields(noun)}


to_json: Callable[[object], str] = json.JSONEncoder(
    default=lambda value: values_of(value) if is_dataclass(value) else dict(value)
).encode
"""JSON of a value; a dataclass or a Mapping in it becomes an object, a tuple an array."""


def from_json(kind: type[T], text: str) -> T:
    """The value of which `to_json` made the text: a dataclass, a NamedTuple, an enum, or a tuple of them."""
    wanted: Any = kind
    made: T = _decoder(wanted)(json.loads(text))
    return made


def decoded(noun: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass from a JSON object that has some of them."""
    decoders = _decoders(noun)
    return {name: decoders[name](value) for name, value in values.items()}


@cache
def _decoders(noun: Any) -> Mapping[str, Decoder]:
    """What makes the value of each field of a dataclass."""
    return {name: _decoder(kind) for name, kind in _kinds(noun).items()}


def _kinds(noun: Any) -> Mapping[str, Any]:
    return {each.name: each.type for each in fields(noun)}


@cache
def _decoder(kind: Any) -> Decoder:
    """What makes a value of a type from what JSON, or a column, has in its place."""
    decode: Decoder
    if (needed := _needed(kind)) is not kind:
        decode = _decoder(needed)
        return _same if decode is _same else lambda value: None if value is None else decode(value)
    if get_origin(kind) is tuple:
        decode = _decoder(get_args(kind)[0])
        return tuple if decode is _same else lambda values: tuple(map(decode, values))
    if get_origin(kind) is Mapping:
        return dict
    if is_dataclass(kind):
        return partial(_made, kind)
    if isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        return lambda values: kind(*values)
    return kind if isinstance(kind, EnumType) or kind is bool else _same


def _made(noun: Any, values: Mapping[str, Any]) -> Any:
    return noun(**decoded(noun, values))


def _needed(kind: Any) -> Any:
    """X of X | None."""
    is_union = get_origin(kind) in (Union, UnionType)
    return next(each for each in get_args(kind) if each is not NoneType) if is_union else kind


def _same(value: Any) -> Any:
    return value


# Tables --------------------------------------------------------------------------------------------------------------


class Table(Generic[T]):
    """The columns of a noun, and the statements that write it down and read it.

    Each field has a column of its name, but where it is `renamed`, or stored `elsewhere`; `packed` is a column with
    JSON of those that are not named in `beside`. `key` is the primary key. To read, `source` stands for the table and
    `expressions` for columns, and `readers` make values that the type does not say how to make.
    """

    def __init__(
        self,
        name: str,
        noun: type[T],
        *,
        key: tuple[str, ...] = ("seq",),
        renamed: Mapping[str, str] = _NONE,
        elsewhere: Sequence[str] = (),
        packed: str = "",
        beside: Sequence[str] = (),
        source: str = "",
        alias: str = "",
        expressions: Mapping[str, str] = _NONE,
        readers: Mapping[str, Decoder] = _NONE,
    ) -> None:
        self.name = name
        self._noun: Any = noun
        self._key = key
        self._packed = packed
        self._encoders: dict[str, Encoder] = {}  # of fields that are not stored as they are
        self._decoders: list[tuple[str, int | slice, Decoder]] = []  # a field, where in a row it is, what makes it
        self._fields: list[str] = []  # of each column
        self._updates: dict[tuple[str, ...], str] = {}  # by the fields that they change
        columns: list[str] = []
        for field, kind in _kinds(noun).items():
            if field in elsewhere or (packed and field not in beside):
                continue
            at: int | slice = len(columns)
            decode = readers.get(field) or _decoder(kind)
            if is_dataclass(inner := _needed(kind)):
                nested = Table[Any](name, cast(Any, inner), key=(), renamed=renamed)
                self._encoders[field], decode = nested._row_if_any, nested._read_if_any
                columns += nested.columns
                at = slice(at, len(columns))
            else:
                columns.append(renamed.get(field, field))
                if field not in readers and get_origin(kind) in (tuple, Mapping):
                    self._encoders[field], decode = _json_column, partial(_from_json_column, decode)
                elif isinstance(inner, EnumType):
                    self._encoders[field] = _enum_column
            self._fields += [field] * (len(columns) - len(self._fields))
            if decode is not _same:
                self._decoders.append((field, at, decode))
        self._written = tuple(dict.fromkeys(self._fields))
        self._values = attrgetter(*self._written)
        self.columns: tuple[str, ...] = (*columns, packed) if packed else tuple(columns)
        self._expressions = self._sql(alias, expressions)
        self._select = f"SELECT {', '.join(self._expressions.values())} FROM {source or name} "
        self._at_key = "WHERE " + " AND ".join(f"{self._expressions[each]} = :key_{each}" for each in key)

    # Writing

    def insert(self, tx: Tx, noun: T, **given: object) -> None:
        """Write a noun down; `given` are columns that are not the noun's, or have another value than it says."""
        self._insert(tx, noun, given, ())

    def put(self, tx: Tx, noun: T, **given: object) -> None:
        """As `insert`, in place of the noun with its key if there is one."""
        self._insert(tx, noun, given, self._key)

    def _insert(self, tx: Tx, noun: T, given: dict[str, object], key: tuple[str, ...]) -> None:
        row = self._row(noun)
        if given:
            named = {**dict(zip(self.columns, row, strict=True)), **given}
            tx.execute(_insert(self.name, tuple(named), key), tuple(named.values()))
        else:
            tx.execute(_insert(self.name, self.columns, key), row)

    def update(self, tx: Tx, *key: object, **changed: object) -> None:
        """Change fields of the noun with that key."""
        row: list[object] = []
        for field, value in changed.items():
            if encode := self._encoders.get(field):
                row += encode(value)
            else:
                row.append(value)
        tx.execute(self._update(tuple(changed)), (*row, *key))

    def _update(self, changed: tuple[str, ...]) -> str:
        """The statement that changes these fields."""
        if changed not in self._updates:
            columns = [
                each
                for name in changed
                for each, field in zip(self.columns, self._fields, strict=False)
                if field == name
            ]
            changes = ", ".join(f"{each} = ?" for each in columns)
            at_key = " AND ".join(f"{each} = ?" for each in self._key)
            self._updates[changed] = f"UPDATE {self.name} SET {changes} WHERE {at_key}"
        return self._updates[changed]

    def _row(self, noun: T) -> Sequence[Any]:
        """The values of the columns."""
        row: list[Any] = []
        encoders = self._encoders
        for field, value in zip(self._written, self._values(noun), strict=True):
            if field in encoders:
                row += encoders[field](value)
            else:
                row.append(value)
        if self._packed:
            row.append(to_json({k: v for k, v in values_of(noun).items() if k not in self._fields}))
        return row

    def _row_if_any(self, noun: T | None) -> Sequence[Any]:
        return (None,) * len(self.columns) if noun is None else self._row(noun)

    def _named(self, key: Sequence[object]) -> dict[str, object]:
        return {f"key_{column}": value for column, value in zip(self._key, key, strict=True)}

    # Reading

    def _sql(self, alias: str, expressions: Mapping[str, str]) -> dict[str, str]:
        prefix = f"{alias}." if alias else ""
        return {column: expressions.get(column, prefix + column) for column in self.columns}

    def selected(self, alias: str = "", **expressions: str) -> str:
        """The columns as a SELECT names them, for `read`; `expressions` stand in place of some."""
        return ", ".join(self._sql(alias, expressions).values())

    def read(self, row: Sequence[Any]) -> T:
        """The noun of a row with the columns `selected`."""
        values = dict(zip(self._fields, row, strict=False))  # what is packed comes last, and is left out
        for field, at, decode in self._decoders:
            values[field] = decode(row[at])
        if self._packed:
            values |= decoded(self._noun, json.loads(row[-1]))
        made: T = self._noun(**values)
        return made

    def _read_if_any(self, row: Sequence[Any]) -> T | None:
        return None if row[0] is None else self.read(row)

    def get(self, db: Queries, *key: object) -> T | None:
        """The noun with that key."""
        return self.first(db, self._at_key, **self._named(key))

    def all(self, db: Queries, clauses: str, **values: object) -> list[T]:
        """The nouns that the clauses find, which is what comes after FROM."""
        return [self.read(row) for row in db.execute(self._select + clauses, values)]

    def first(self, db: Queries, clauses: str, **values: object) -> T | None:
        row = db.execute(self._select + clauses, values).fetchone()
        return None if row is None else self.read(row)

    def has(self, db: Queries, clauses: str, **values: object) -> bool:
        """Whether the clauses find anything."""
        return db.execute(f"SELECT 1 FROM {self.name} {clauses} LIMIT 1", values).fetchone() is not None

    def page(
        self,
        db: Queries,
        where: str,
        *,
        only: Mapping[str, object] = _NONE,
        after: int | None = None,
        before: int | None = None,
        limit: int,
        newest_first: bool = True,
        **values: object,
    ) -> list[T]:
        """A page of a list that goes by `seq`: what fits `where`, has the values in `only` (None: any) in its columns,
        and a number above `after` and below `before`."""
        seq = self._expressions["seq"]
        equal = {column: value for column, value in only.items() if value is not None}
        wanted = [where, *(f"{self._expressions[column]} = :{column}" for column in equal)]
        if after is not None:
            wanted.append(f"{seq} > :after")
        if before is not None:
            wanted.append(f"{seq} < :before")
        clauses = f"WHERE {' AND '.join(wanted)} ORDER BY {seq} {'DESC' if newest_first else ''} LIMIT :limit"
        return self.all(db, clauses, after=after, before=before, limit=limit, **equal, **values)


def _enum_column(value: Any) -> Sequence[Any]:
    return (value if value is None else value.value,)  # sqlite3 is slow with a str that is more than a str


def _json_column(value: Any) -> Sequence[str | None]:
    return (to_json(value) if value else None,)


def _from_json_column(decode: Decoder, text: str | None) -> Any:
    return decode(json.loads(text) if text else ())


@cache
def _insert(table: str, columns: tuple[str, ...], key: tuple[str, ...] = ()) -> str:
    """An INSERT, in place of the row with the key if there is one and a key is given."""
    text = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    changes = ", ".join(f"{each} = excluded.{each}" for each in columns if each not in key)
    return f"{text} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}" if key else text
