"""The addresses of alarms, rules, maintenance and notifications."""

from __future__ import annotations

from starlette.routing import Route

from ui.pages import (
    alarm,
    alarm_acts,
    alarms,
    maintenance,
    notification_targets,
    notifications,
    on_call_lists,
    rule_editor,
    rule_try,
    rules,
    scope_form,
)
from ui.pages.alarm_facts import MAINTENANCE_URL
from ui.pages.shell import Shell

_ONE = "/alarms/{alarm_id}"
_RULE = f"{rules.URL}/{{rule_id}}"


def alarm_routes(shell: Shell) -> list[Route]:
    """Pages and streams; those with a word in place of an alarm's id first."""
    page, stream = shell.page, shell.stream
    return [
        Route("/alarms", page(alarms.show, needs="alarms.read")),
        Route("/alarms/bulk", page(alarm_acts.act_on_many, needs="alarms.operate"), methods=["POST"]),
        Route("/alarms/scope", page(scope_form.count, needs="alarms.read")),
        Route(rules.URL, page(rules.show, needs="rules.read"), methods=["GET"]),
        Route(rules.URL, page(rule_editor.save_new, needs="rules.manage"), methods=["POST"]),
        Route(f"{rules.URL}/new", page(rule_editor.show_new, needs="rules.read"), methods=["GET"]),
        Route(f"{rules.URL}/import", page(rules.bring, needs="rules.manage"), methods=["POST"]),
        Route(f"{rules.URL}/try", page(rule_try.try_out, needs="rules.manage"), methods=["POST"]),
        Route(_RULE, page(rule_editor.show_one, needs="rules.read"), methods=["GET"]),
        Route(_RULE, page(rule_editor.save, needs="rules.manage"), methods=["POST"]),
        Route(f"{_RULE}/enable", page(rules.switching(True), needs="rules.manage"), methods=["POST"]),
        Route(f"{_RULE}/disable", page(rules.switching(False), needs="rules.manage"), methods=["POST"]),
        Route(f"{_RULE}/remove", page(rule_editor.remove, needs="rules.manage"), methods=["POST"]),
        Route(MAINTENANCE_URL, page(maintenance.show, needs="alarms.read"), methods=["GET"]),
        Route(MAINTENANCE_URL, page(maintenance.make, needs="maintenance.manage"), methods=["POST"]),
        Route(
            f"{MAINTENANCE_URL}/{{maintenance_id}}/end",
            page(maintenance.end, needs="maintenance.manage"),
            methods=["POST"],
        ),
        *_notification_routes(shell),
        Route(_ONE, page(alarm.show, needs="alarms.read")),
        *(
            Route(f"{_ONE}/{op}", page(alarm_acts.acting(op), needs="alarms.operate"), methods=["POST"])
            for op in alarm_acts.ACTS
        ),
        Route("/live/alarms", stream(alarms.live, needs="alarms.read")),
        Route("/live" + _ONE, stream(alarm.live, needs="alarms.read")),
    ]


def _notification_routes(shell: Shell) -> list[Route]:
    page, url = shell.page, notifications.URL
    found = [Route(url, page(notifications.show, needs="notifications.read"))]
    found.append(
        Route(
            f"{url}/targets/{{target_id}}/test",
            page(notification_targets.test, needs="notifications.manage"),
            methods=["POST"],
        )
    )
    for name, key, forms in (
        ("targets", "target_id", notification_targets),
        ("lists", "list_id", on_call_lists),
    ):
        one = f"{url}/{name}/{{{key}}}"
        found += [
            Route(f"{url}/{name}/new", page(forms.show_new, needs="notifications.manage"), methods=["GET"]),
            Route(f"{url}/{name}", page(forms.save_new, needs="notifications.manage"), methods=["POST"]),
            Route(one, page(forms.show_one, needs="notifications.manage"), methods=["GET"]),
            Route(one, page(forms.save, needs="notifications.manage"), methods=["POST"]),
            Route(f"{one}/remove", page(forms.remove, needs="notifications.manage"), methods=["POST"]),
        ]
    return found
