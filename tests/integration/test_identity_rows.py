"""Whose row it is, where the statement names nobody: told by what the ORM session has loaded."""

from __future__ import annotations

import asyncio
import gc
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.types import TypeDecorator
from support.recorder import Recorder

from trueline.instrumentation import semconv, uninstrument
from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.instrumentation.inventory_report import Sources
from trueline.instrumentation.sampling import Sampler
from trueline.instrumentation.setup import inventory

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
    tags: Mapped[list[Tag]] = relationship(secondary="kitchen_recipe_tags")


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


class Loose(DeclarativeBase):
    """The same tables, with children that outlive their parent."""


class LooseRecipe(Loose):
    __tablename__ = "kitchen_recipes"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column()
    steps: Mapped[list[LooseStep]] = relationship()


class LooseStep(Loose):
    __tablename__ = "kitchen_steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    recipe_id: Mapped[int | None] = mapped_column(ForeignKey("kitchen_recipes.id"))


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
    source.clear()
    yield engine
    engine.dispose()


def value(person: object, domain: str = "user") -> str:
    """As exported."""
    return f"{domain}:{IdentityHasher('').export(domain, canonicalize(person))}"


SEVEN, EIGHT = value(7), value(8)


def owners(recorder: Recorder, table: str, kind: str = "write") -> list[tuple[str, ...]]:
    """Of each statement on a table."""
    found = [
        one
        for one in recorder.statements()
        if one.get(semconv.STATEMENT_TABLES, ())[:1] == (table,) and one[semconv.STATEMENT_KIND] == kind
    ]
    assert all(one[semconv.HASH_KEY_ID] for one in found if semconv.IDENTITY_ROW in one)
    assert not any(semconv.IDENTITY_ROW in one for one in found if one.get(semconv.IDENTITY_COLUMNS))
    return [tuple(one.get(semconv.IDENTITY_ROW, ())) for one in found]


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """What the database is asked in the block."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def test_update_and_delete_by_key(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = session.get_one(Recipe, 1)
        recipe.title = "broth"
        session.flush()
        recipe.steps[0].title = "boil"
        session.flush()
        session.delete(recipe)
        session.commit()
    assert owners(source, "kitchen_recipes") == [(SEVEN,), (SEVEN,)]
    assert owners(source, "kitchen_steps") == [(SEVEN,), (SEVEN,)]  # over its recipe
    assert owners(source, "kitchen_pictures") == [(SEVEN,)]  # over its step
    assert owners(source, "kitchen_steps", "read") == [(SEVEN,)]  # the parent's lazy load


def test_it_is_the_value_that_statements_with_the_column_have(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = Recipe(id=4, user_id=7)
        session.add(recipe)
        session.flush()
        session.execute(update(Recipe).where(Recipe.id == recipe.id).values(title="stew"))
        session.commit()
    first, second = source.statements("write")
    assert first[semconv.IDENTITY_VALUES] == (SEVEN.partition(":")[2],)
    assert second[semconv.IDENTITY_ROW] == (SEVEN,)


def test_a_child_of_a_loaded_parent(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = session.get_one(Recipe, 2)
        session.add(Step(recipe_id=2))
        session.flush()
        recipe.tags.append(session.get_one(Tag, 1))
        session.commit()
    assert owners(source, "kitchen_steps") == [(EIGHT,)]
    assert owners(source, "kitchen_recipe_tags") == [(EIGHT,)]


@pytest.mark.parametrize("known", [True, False])
def test_parents_inserted_in_the_same_flush(source: Recorder, kitchen: Engine, known: bool) -> None:
    with Session(kitchen) as session:
        for user in (7, 8):
            recipe = Recipe(user_id=user, steps=[Step(pictures=[Picture()])], tags=[Tag(id=user + 10)])
            if known:
                recipe.id, recipe.steps[0].id, recipe.steps[0].pictures[0].id = user, user, user
            session.add(recipe)
        session.commit()
    for table in ("kitchen_steps", "kitchen_pictures", "kitchen_recipe_tags"):
        found = [owner for one in owners(source, table) for owner in one]
        assert sorted(found) == sorted([SEVEN, EIGHT]), table


def test_two_peoples_rows_in_one_batch(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        for recipe in session.scalars(select(Recipe).order_by(Recipe.id)):
            recipe.title += "!"
        session.commit()
    assert owners(source, "kitchen_recipes") == [(SEVEN, EIGHT)]  # the third is nobody's


def test_only_the_first_rows_of_a_batch_are_looked_at(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipes = [Recipe(id=number, user_id=number) for number in range(100, 120)]
        session.add_all(recipes)
        session.flush()
        for recipe in recipes:
            recipe.title = "all"
        session.commit()
    (found,) = owners(source, "kitchen_recipes")[-1:]
    assert len(found) == 8


def test_expired_objects_say_nothing_and_are_not_loaded(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = session.get_one(Recipe, 1)
        session.commit()
        assert "user_id" not in recipe.__dict__
        with counted(kitchen) as asked:
            session.execute(update(Recipe).where(Recipe.id == 1).values(title="x"))
            session.execute(insert(Step).values(recipe_id=1))
            session.execute(text("DELETE FROM kitchen_steps WHERE recipe_id = 1"))
        assert len(asked) == 3
        assert "user_id" not in recipe.__dict__
        session.commit()
    assert owners(source, "kitchen_recipes") == [()]
    assert owners(source, "kitchen_steps") == [(), ()]


def test_no_statement_is_added(source: Recorder, kitchen: Engine) -> None:
    def work() -> list[str]:
        with Session(kitchen) as session, counted(kitchen) as asked:
            recipe = session.get_one(Recipe, 1)
            recipe.title += "!"
            recipe.steps[0].title += "!"
            session.flush()
            session.expire(recipe, ["user_id", "tags"])
            recipe.title += "!"
            recipe.steps[0].pictures.append(Picture())
            session.rollback()
        return asked

    with_it = work()
    uninstrument()
    assert work() == with_it


def test_outside_of_a_session_nothing(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = session.get_one(Recipe, 1)
        session.commit()
        session.refresh(recipe)
        session.expunge(recipe)
        session.execute(update(Recipe).where(Recipe.id == 1).values(title="x"))
        session.commit()
    with kitchen.begin() as connection:
        connection.execute(update(Recipe).where(Recipe.id == 1).values(title="y"))
        connection.execute(insert(Step).values(recipe_id=1))
    assert owners(source, "kitchen_recipes") == [(), ()]
    assert owners(source, "kitchen_steps") == [()]


def test_a_session_that_gave_its_connection_back_is_not_asked(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen, expire_on_commit=False) as session:
        recipe = session.get_one(Recipe, 1)
        session.commit()
        with kitchen.begin() as connection:
            connection.execute(update(Recipe).where(Recipe.id == recipe.id).values(title="y"))
    assert owners(source, "kitchen_recipes") == [()]


def test_sql_text_in_a_session(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        kept = session.scalars(select(Recipe).order_by(Recipe.id)).all()
        session.execute(text("UPDATE kitchen_recipes SET title = 'x' WHERE id = :id"), {"id": 2})
        session.execute(text("UPDATE kitchen_recipes SET title = 'x' WHERE id = '2'"))
        session.execute(text("UPDATE kitchen_recipes SET title = 'x' WHERE id = 'other'"))
        session.execute(text("UPDATE kitchen_recipes SET title = 'x' WHERE id = :id"), {"id": b"\xff"})
        session.execute(text("DELETE FROM kitchen_steps WHERE recipe_id IN (1, 2)"))
        session.execute(text("DELETE FROM kitchen_steps WHERE recipe_id = 1 OR title = ''"))
        session.execute(text("UPDATE kitchen_recipes SET title = 'x' WHERE id = 3"))
        session.commit()
        assert len(kept) == 3
    assert owners(source, "kitchen_recipes") == [(EIGHT,), (EIGHT,), (), (), ()]
    assert owners(source, "kitchen_steps") == [(SEVEN, EIGHT), ()]


def test_a_child_that_loses_its_parent_was_its_owners(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        session.delete(session.get_one(LooseRecipe, 1))
        session.commit()
    assert owners(source, "kitchen_steps") == [(SEVEN,)]  # UPDATE ... SET recipe_id = NULL WHERE id = ?
    assert owners(source, "kitchen_recipes") == [(SEVEN,)]


def test_a_failing_statement_has_an_owner_too(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        recipe = session.get_one(Recipe, 1)
        with pytest.raises(IntegrityError):
            session.execute(update(Recipe).where(Recipe.id == recipe.id).values(title=None))
    assert owners(source, "kitchen_recipes") == [(SEVEN,)]


def test_the_session_is_not_kept_alive(source: Recorder, kitchen: Engine) -> None:
    session = Session(kitchen)
    recipe = session.get_one(Recipe, 1)
    recipe.title = "x"
    session.commit()
    gone: list[weakref.ref[Any]] = [weakref.ref(session), weakref.ref(recipe)]
    session.close()
    del session, recipe
    gc.collect()
    assert [one() for one in gone] == [None, None]
    assert owners(source, "kitchen_recipes") == [(SEVEN,)]


def test_a_session_on_a_lent_connection_is_not_kept_alive(source: Recorder, kitchen: Engine) -> None:
    with kitchen.begin() as connection:
        session = Session(bind=connection)
        recipe = session.get_one(Recipe, 1)
        gone: list[weakref.ref[Any]] = [weakref.ref(session), weakref.ref(recipe)]
        del session, recipe
        gc.collect()
        assert [one() for one in gone] == [None, None]
        connection.execute(update(Recipe).where(Recipe.id == 1).values(title="y"))
    assert owners(source, "kitchen_recipes") == [()]


async def _asynchronously() -> None:
    engine = sqlalchemy_asyncio.create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Recipe), [{"id": 1, "user_id": 7}])
    async with sqlalchemy_asyncio.AsyncSession(engine) as session:
        recipe = await session.get_one(Recipe, 1)
        recipe.title = "x"
        session.add(Step(recipe_id=1))
        await session.commit()
    await engine.dispose()


def test_asynchronous_sessions(source: Recorder) -> None:
    asyncio.run(_asynchronously())
    assert owners(source, "kitchen_recipes")[-1] == (SEVEN,)
    assert owners(source, "kitchen_steps") == [(SEVEN,)]


def test_the_inventory_counts_it(source: Recorder, kitchen: Engine) -> None:
    with Session(kitchen) as session:
        session.get_one(Recipe, 1).title = "x"
        session.commit()
    source.provider.force_flush()
    (table,) = (one for one in inventory().tables if one.table == "kitchen_recipes")
    assert table.writes == Sources(column=1, row=1)


def test_sampling_keeps_the_owners_that_it_keeps_elsewhere(record: Callable[..., Recorder]) -> None:
    recorder = record(logs=False, sample=0.5)
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Recipe), [{"id": number, "user_id": number} for number in range(1, 41)])
    recorder.clear()
    for number in range(1, 41):
        with Session(engine, expire_on_commit=False) as session:
            recipe = session.get_one(Recipe, number)
            session.commit()  # this read names nobody, and is kept or not by its trace
            recipe.title = "x"
            session.commit()
    engine.dispose()
    sampler = Sampler(0.5)
    expected = [(owner,) for owner in map(value, range(1, 41)) if sampler.keeps_identity(*owner.split(":"))]
    assert 5 < len(expected) < 35
    assert owners(recorder, "kitchen_recipes") == expected


# -- other shapes of mapping -------------------------------------------------------------------------------


class Guid(TypeDecorator[uuid.UUID]):
    """As many applications have it: a UUID in their hands, its digits in the database."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else value.hex

    def process_result_value(self, value: Any, dialect: Any) -> uuid.UUID | None:
        return None if value is None else uuid.UUID(value)


class Other(DeclarativeBase):
    pass


class Person(Other):
    __tablename__ = "pet_users"
    id: Mapped[uuid.UUID] = mapped_column(Guid, primary_key=True)


class Animal(Other):
    __tablename__ = "pet_animals"
    key: Mapped[uuid.UUID] = mapped_column("id", Uuid, primary_key=True)
    keeper: Mapped[uuid.UUID] = mapped_column("user_id", Guid, ForeignKey("pet_users.id"))
    kind: Mapped[str] = mapped_column(default="animal")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    __tablename__ = "pet_dogs"
    key: Mapped[uuid.UUID] = mapped_column("id", Uuid, ForeignKey("pet_animals.id"), primary_key=True)
    tricks: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Visit(Other):
    __tablename__ = "pet_visits"
    place: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    animal_id: Mapped[uuid.UUID] = mapped_column(Uuid, ForeignKey("pet_animals.id"))
    seen_by: Mapped[uuid.UUID | None] = mapped_column(Guid)
    note: Mapped[str] = mapped_column(default="")


ANNA = uuid.UUID("0b5bd2a4-1111-4222-8333-0123456789ab")


@pytest.fixture
def pets(source: Recorder) -> Iterator[Engine]:
    engine = sqlalchemy.create_engine("sqlite://")
    Other.metadata.create_all(engine)
    source.clear()
    yield engine
    engine.dispose()


def test_inheritance_uuids_renamed_attributes_and_composite_keys(source: Recorder, pets: Engine) -> None:
    key = uuid.uuid4()
    with Session(pets) as session:
        session.add(Person(id=ANNA))
        session.flush()
        dog = Dog(key=key, keeper=ANNA)
        session.add(dog)
        session.flush()
        visit = Visit(place="here", number=1, animal_id=key)
        session.add(visit)
        session.flush()
        dog.tricks += 1
        session.flush()
        visit.note = "well"
        session.flush()
        session.delete(visit)
        session.flush()
        session.delete(dog)
        session.commit()
    (written,) = (
        one
        for one in source.statements("write")
        if semconv.IDENTITY_VALUES in one and one[semconv.STATEMENT_TABLES] == ("pet_animals",)
    )
    # The same value as where a column says it, which there are the 32 digits.
    anna = f"user:{written[semconv.IDENTITY_VALUES][0]}"
    assert anna == value(ANNA.hex)
    assert owners(source, "pet_visits") == [(anna,)] * 3
    assert owners(source, "pet_dogs") == [(anna,)] * 3
    assert owners(source, "pet_animals") == [(), (anna,)]


# -- several ways -------------------------------------------------------------------------------------------


class Shop(DeclarativeBase):
    pass


class Client(Shop):
    __tablename__ = "shop_users"
    id: Mapped[int] = mapped_column(primary_key=True)


class Order(Shop):
    __tablename__ = "shop_orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("shop_users.id"))


class Product(Shop):
    __tablename__ = "shop_articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    seller_id: Mapped[int] = mapped_column(ForeignKey("shop_users.id"))


class Item(Shop):
    __tablename__ = "shop_order_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("shop_articles.id"))
    order_id: Mapped[int] = mapped_column(ForeignKey("shop_orders.id"))


class Offer(Shop):
    __tablename__ = "shop_offers"
    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int | None] = mapped_column(ForeignKey("shop_articles.id"))
    order_id: Mapped[int | None] = mapped_column(ForeignKey("shop_orders.id"))


def test_the_parent_that_a_table_is_named_after_decides(source: Recorder) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    Shop.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Client(id=7), Client(id=8)])
        session.flush()
        order = Order(id=1, user_id=7)
        session.add_all([order, Product(id=1, seller_id=8), Product(id=2, seller_id=7)])
        session.flush()
        session.add(Item(article_id=1, order_id=order.id))
        session.commit()
        product = session.get_one(Product, 1)
        session.add(Item(article_id=product.id, order_id=1))  # its order is not loaded
        session.commit()
    assert owners(source, "shop_order_items") == [(SEVEN,), ()]
    engine.dispose()


def test_ways_that_disagree_say_nothing(source: Recorder) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    Shop.metadata.create_all(engine)
    with Session(engine) as session:
        order, theirs, own = Order(id=1, user_id=7), Product(id=1, seller_id=8), Product(id=2, seller_id=7)
        session.add_all([order, theirs, own])
        session.flush()
        for article, number in ((1, 1), (2, 1), (None, 1), (2, None), (3, 1)):
            session.add(Offer(article_id=article, order_id=number))
            session.flush()
        session.rollback()
    assert owners(source, "shop_offers") == [(), (SEVEN,), (SEVEN,), (SEVEN,), ()]
    engine.dispose()
