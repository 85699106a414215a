"""``list``: tasks, methods with sources, profiles and every configuration field."""

from __future__ import annotations

import argparse

from baselines.registry import METHODS, method_groups
from benchmark.commands.options import add_plugins
from benchmark.core.sections import SECTIONS
from benchmark.plan.resolve import profiles
from tasks import TASKS


def register(commands: argparse._SubParsersAction) -> None:
    listing = commands.add_parser("list", help="tasks, methods, profiles and configuration fields")
    add_plugins(listing)
    listing.set_defaults(command=command_list)


def command_list(options: argparse.Namespace) -> int:
    import dataclasses

    from benchmark.core.naming import load
    from benchmark.plan.plugins import LOADED

    print("tasks")
    for name, target in TASKS.items():
        print(f"  {name:26} {load(target).title}")
    print("\nmethods (objective × estimator × rule)")
    for name, method in METHODS.items():
        if method.group == "main":
            print(f"  {name:12} {method.title:44} {method.summary}")
            values = method.resolved({})
            for key, spec in method.fields().items():
                print(f"      {key + ' = ' + str(values[key]):32} {spec.metadata['help']} [{method.source(key)}]")
    print("\ncontrols (--method ablation); each takes all else from the method it is based on")
    for name, method in METHODS.items():
        if method.group == "ablation":
            changed = ", ".join(f"{key} = {value}" for key, value in method.defaults.items())
            print(f"  {name:24} {method.summary} ({method.base or 'no base'}{', ' if changed else ''}{changed})")
    print("\nfurther groups (--method GROUP)")
    for group, members in method_groups().items():
        if group not in ("main", "ablation"):
            print(f"  {group}")
            for name in members:
                print(f"    {name:22} {METHODS[name].title:52} {METHODS[name].summary}")
    if LOADED:
        print("\nplugins")
    for plugin in LOADED.values():
        added = ", ".join(f"{table} {name}" for table, name in sorted(plugin.added))
        print(f"  {plugin.name:12} {plugin.origin}, {plugin.digest}: {added}")
    print("\nprofiles")
    for name, head in profiles().items():
        print(f"  {name:12} {head}")
    print("\nconfiguration fields (--set section.field=value)")
    for section, cls in SECTIONS.items():
        for spec in dataclasses.fields(cls):
            print(f"  {section + '.' + spec.name + ' = ' + repr(spec.default):46} {spec.metadata['help']}")
    return 0
