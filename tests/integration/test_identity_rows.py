"""Whose row it is, where the statement names nobody: told by what the ORM session has loaded, and only that."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    String,
    Table,
    Uuid,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship
from sqlalchemy.types import TypeDecorator
from support.recorder import Recorder

from trueline.instrumentation import semconv

pytestmark = pytest.mark.sqlalchemy_matrix


class Base(DeclarativeBase):
    pass


class Cook(Base):
    __tablename__ = "kitchen_users"
    id: Mapped[int] = mapped_column(primary_key=True)


class Recipe(Base):
    __tablename__ = "kitchen_recipes"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    user_id: Mapped[int | None] = mapped_column(ForeignKey("kitchen_users.id"))
    steps: Mapped[list[Step]] = relationship(cascade="all, delete-orphan")
    tags: Mapped[list[Tag]] = relationship(secondary=lambda: recipe_tags)


class Tag(Base):
    __tablename__ = "kitchen_tags"
    id: Mapped[int] = mapped_column(primary_key=True)


recipe_tags = Table(
    "kitchen_recipe_tags",
    Base.metadata,
    Column("recipe_id", ForeignKey("kitchen_recipes.id"), primary_key=True),
    Column("tag_id", ForeignKey("kitchen_tags.id"), primary_key=True),
)


class Step(Base):
    __tablename__ = "kitchen_steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    recipe_id: Mapped[int | None] = mapped_column(ForeignKey("kitchen_recipes.id"))
    title: Mapped[str] = mapped_column(default="")
    pictures: Mapped[list[Picture]] = relationship(cascade="all, delete-orphan")


class Picture(Base):
    __tablename__ = "kitchen_pictures"
    id: Mapped[int] = mapped_column(primary_key=True)
    step_id: Mapped[int | None] = mapped_column(ForeignKey("kitchen_steps.id"))


@pytest.fixture
def kitchen(source: Recorder) -> Iterator[Engine]:
    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Cook), [{"id": 7}, {"id": 8}])
        connection.execute(
            insert(Recipe),
            [
                {"id": 1, "title": "soup", "user_id": 7},
                {"id": 2, "title": "cake", "user_id": 8},
                {"id": 3, "title": "tea", "user_id": None},
            ],
        )
        connection.execute(insert(Tag), [{"id": 1}, {"id": 2}])
        connection.execute(insert(Step), [{"id": 11, "recipe_id": 1}, {"id": 12, "recipe_id": 2}])
        connection.execute(insert(Picture), [{"id": 111, "step_id": 11}])
    source.settle()
    source.clear()
    yield engine
    engine.dispose()


def owners(recorder: Recorder, table: str, kind: str = "write") -> list[tuple[str, ...]]:
    """Of each statement on a table."""
    return [
        tuple(one.get(semconv.IDENTITY_ROW, ()))
        for one in recorder.statements()
        if one[semconv.STATEMENT_TABLES][:1] == (table,) and one[semconv.STATEMENT_KIND] == kind
    ]


def test_update_and_delete_by_key(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = session.get(Recipe, 1)
        assert recipe is not None
        recipe.title = "broth"
        session.commit()
    print(source.statements())
    assert owners(source, "kitchen_recipes") == [("user:7",)]
