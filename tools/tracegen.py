#!/usr/bin/env python3
"""Makes the trace functions of the rows of a file (its head says what a row is).

    tracegen.py ROWS HEADER SOURCE

HEADER gets an inline function for each event, SOURCE the table of their names.
"""

import re
import sys
from dataclasses import dataclass

ROW = re.compile(r'([a-z][a-z0-9_]*)\((.*?)\)\s+(".*)$')
ARGUMENT = re.compile(r"(.*[\s*])([a-z_][a-z0-9_]*)$")
MAX_ARGUMENTS = 12      # as many as sys/sdt.h has macros for

HEADER = """\
/* Made by tools/tracegen.py. */
#ifndef NANDU_UTIL_TRACE_H
#define NANDU_UTIL_TRACE_H

#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define TRACE_PROBE(name, n, ...) DTRACE_PROBE##n(nandu, name, ##__VA_ARGS__)
#else
#define TRACE_PROBE(name, n, ...) do {} while (0)
#endif

struct log;

enum trace_event {
%(ids)s
    TRACE_N_EVENTS
};

/* What a struct log begins with: which events are switched on. Changed while others read it. */
struct trace_flags {
    uint8_t enabled[TRACE_N_EVENTS];
};

static inline bool trace_is_enabled(const struct log *log, enum trace_event event)
{
    const struct trace_flags *flags = (const void *)log;

    return flags && __builtin_expect(__atomic_load_n(&flags->enabled[event], __ATOMIC_RELAXED), 0);
}

void trace_write(struct log *log, enum trace_event event, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

%(functions)s
#endif
"""

FUNCTION = """\
static inline void trace_%(name)s(%(parameters)s)
{
    TRACE_PROBE(%(name)s, %(n)s%(arguments)s);
    if (trace_is_enabled(log, %(id)s)) {
        trace_write(log, %(id)s, %(format)s%(arguments)s);
    }
}
"""

SOURCE = """\
/* Made by tools/tracegen.py. */
#include "util/trace_control.h"

const char *const trace_names[TRACE_N_EVENTS] = {
%(names)s
};
"""


@dataclass
class Event:
    name: str
    parameters: list    # "int64_t deadline"
    arguments: list     # "deadline"
    format: str

    @property
    def id(self):
        return "TRACE_" + self.name.upper()


def parse_row(line):
    match = ROW.match(line)
    if not match:
        raise ValueError('not a row: name(type argument, ...) "format"')
    name, text, form = match.groups()
    parameters = [p.strip() for p in text.split(",")] if text.strip() else []
    arguments = []
    for parameter in parameters:
        match = ARGUMENT.match(parameter)
        if not match:
            raise ValueError(f"not a type and a name: {parameter}")
        arguments.append(match.group(2))
    if len(parameters) > MAX_ARGUMENTS:
        raise ValueError(f"more than {MAX_ARGUMENTS} arguments")
    return Event(name, parameters, arguments, form)


def parse(path):
    events, names = [], set()
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            try:
                event = parse_row(line)
                if event.name in names:
                    raise ValueError(f"a second event {event.name}")
            except ValueError as error:
                sys.exit(f"{path}:{number}: {error}")
            names.add(event.name)
            events.append(event)
    return events


def function(event):
    return FUNCTION % {
        "name": event.name,
        "id": event.id,
        "n": len(event.arguments) or "",
        "format": event.format,
        "parameters": ", ".join(["struct log *log"] + event.parameters),
        "arguments": "".join(", " + argument for argument in event.arguments),
    }


def main():
    rows, header, source = sys.argv[1:]
    events = parse(rows)
    with open(header, "w", encoding="utf-8") as f:
        f.write(HEADER % {
            "ids": "\n".join(f"    {event.id}," for event in events),
            "functions": "\n".join(function(event) for event in events),
        })
    with open(source, "w", encoding="utf-8") as f:
        f.write(SOURCE % {
            "names": "\n".join(f'    [{event.id}] = "{event.name}",' for event in events),
        })


if __name__ == "__main__":
    main()
