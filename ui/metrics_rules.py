"""What rules watch, and what there was no room or time for, as metrics."""

from __future__ import annotations

from appliance.rules.evaluator import RuleStatistics
from ui.metrics_table import Collected
from ui.services import Services


def add_rules(out: Collected, services: Services) -> None:
    """Nothing where rules are switched off, or before they have begun."""
    watch = services.pipeline.statistics().watch
    rules = watch.watch.rules if watch is not None else None
    if not isinstance(rules, RuleStatistics):
        return
    out.add("homeport_rules", rules.rules)
    out.add("homeport_rule_pairs", rules.instances, "watched")
    out.add("homeport_rule_pairs", rules.active, "raised")
    out.add("homeport_rule_pairs", sum(rules.left_out.values()), "left_out")
    out.add("homeport_rule_transitions_held", rules.waiting)
    out.add("homeport_rule_transitions_untold", rules.untold)
