"""Jinja2, with every template compiled when the program starts, and the few filters that pages need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ui.pages import format as fmt
from ui.pages.assets import Assets
from ui.pages.first_run_progress import STEPS
from ui.pages.kept_code import KeptCode
from ui.pages.qr import qr_data_uri

TEMPLATES_DIR: Final = Path(__file__).parent.parent / "templates"
CODE_DIR: Final = Path(__file__).parent / "__pycache__"


class Templates:
    """All templates below `ui/templates`, compiled once; a mistake in one stops the start, not a page.

    Args:
        local_text: A time at the site, which stands below the one in UTC; "" for none.
    """

    def __init__(
        self,
        assets: Assets,
        directory: Path = TEMPLATES_DIR,
        *,
        local_text: Callable[[int], str] = lambda at_ms: "",
    ) -> None:
        environment = Environment(
            loader=FileSystemLoader(directory),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=-1,
            bytecode_cache=KeptCode(CODE_DIR),
        )
        environment.globals["static"] = assets.url
        environment.globals["first_run_steps"] = STEPS
        environment.globals["limit_text"] = fmt.limit_text
        environment.filters.update(
            age=fmt.age_text,
            instant=lambda at_ms: "\n".join(filter(None, (fmt.instant_text(at_ms), local_text(at_ms)))),
            instant_s=lambda at_ms: fmt.instant_text(at_ms)[:19] + " UTC",
            clock=lambda at_ms: fmt.instant_text(at_ms)[11:19],
            iso=fmt.iso_text,
            count=fmt.count_text,
            rate=fmt.rate_text,
            duration=fmt.duration_text,
            bytes=fmt.bytes_text,
            plural=fmt.plural,
            qr=qr_data_uri,
            visible=fmt.visible,
        )
        self._by_name = {name: environment.get_template(name) for name in environment.list_templates()}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._by_name)

    def render(self, name: str, /, **context: Any) -> str:
        """Raises KeyError for a template that isn't there, jinja2.UndefinedError for a value not given."""
        return self._by_name[name].render(context)


def partial(target_id: str, html: str, *, swap: str = "innerMorph") -> str:
    """A fragment that the page's stream swaps into the element with that id (htmx 4's `<hx-partial>`)."""
    return f'<hx-partial hx-target="#{target_id}" hx-swap="{swap}">{html}</hx-partial>'
