"""The actions of the review screen: fields in, one call on the session, an instance id out."""

from __future__ import annotations

from collections.abc import Callable

from annotator.session import Context, ReviewSession
from annotator.ui.fields import Fields
from engine.errors import OptionError, ReviewError
from engine.types import Box, Status

LARGEST_BRUSH = 2000.0  # pixels

Action = Callable[[ReviewSession, Context, Fields], int | None]


def _set_status(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    names = [status.value for status in Status]
    status = fields.text("status")
    if status not in names:
        raise OptionError(f"status '{status}' is unknown; choose from {', '.join(names)}")
    return session.set_status(context, fields.whole("id", low=1), Status(status))


def _accept_all(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    session.accept_all(context, min_score=fields.number("min_score", low=0, high=1, default=0.0))
    return None


def _set_class(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    category = session.category_name(fields.whole("cls", low=1))
    return session.set_class(context, fields.whole("id", low=1), category)


def _chosen_class(session: ReviewSession, fields: Fields) -> str | None:
    category_id = fields.optional_whole("cls")
    return None if category_id is None else session.category_name(category_id)


def _set_box(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    return session.set_box(context, fields.whole("id", low=1), _box(fields))


def _add_box(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    return session.add_box(context, category=_chosen_class(session, fields), box=_box(fields))


def _box(fields: Fields) -> Box:
    x0, y0, x1, y1 = fields.numbers("box", count=4)
    if not (x0 < x1 and y0 < y1):
        raise ReviewError(f"this box has no area: {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return (x0, y0, x1, y1)


def _click(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    x, y, label = fields.numbers("point", count=3)
    if label not in (0.0, 1.0):
        raise OptionError(f"a click is 1 (inside) or 0 (outside), got {label:g}")
    return session.click(
        context,
        fields.optional_whole("id"),
        (x, y, int(label)),
        category=_chosen_class(session, fields),
    )


def _brush(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    return session.brush(
        context,
        fields.optional_whole("id"),
        mode=fields.text("mode"),
        radius=fields.number("radius", low=0.25, high=LARGEST_BRUSH),
        path=fields.path("pts"),
        category=_chosen_class(session, fields),
    )


def _choose(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    return session.choose(context, fields.whole("id", low=1), fields.optional_mask("rle"))


def _delete(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    session.delete(context, fields.whole("id", low=1))
    return None


def _clear_points(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    return session.clear_points(context, fields.whole("id", low=1))


def _confirm(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    session.confirm(context, subject=fields.text("subject"), state=fields.text("state"))
    return None


def _set_tag(session: ReviewSession, context: Context, fields: Fields) -> int | None:
    category = session.category_name(fields.whole("cls", low=1))
    session.set_tag(context, category, is_on=fields.flag("on"))
    return None


def _undo(session: ReviewSession, context: Context, _fields: Fields) -> int | None:
    return session.undo(context)


def _redo(session: ReviewSession, context: Context, _fields: Fields) -> int | None:
    return session.redo(context)


ACTIONS: dict[str, Action] = {
    "set_status": _set_status,
    "accept_all": _accept_all,
    "set_class": _set_class,
    "set_box": _set_box,
    "add_box": _add_box,
    "click": _click,
    "brush": _brush,
    "choose": _choose,
    "delete": _delete,
    "clear_points": _clear_points,
    "confirm": _confirm,
    "set_tag": _set_tag,
    "undo": _undo,
    "redo": _redo,
}
