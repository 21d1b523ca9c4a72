"""How fast callbacks and pushes are: `python -m bench`, or `make bench`.

One command and one run: a PostgreSQL that survives power cuts and a Redis of its own
(where there is one), the real servers, the simulator, the loads, and the end of all
of them. A machine's speed drifts, so nothing is compared with another run: each
figure is a ratio to what stands beside it in the same repetition,

- pgbench writing the same rows into a copy of the same tables, in one statement and
  in one statement per row: what the database could do if our code cost nothing;
- a view that does nothing, on the same server: what the server costs;
- for pushes, the second that the upstream takes.

After each load the rows are counted and the money is summed up. Wrong facts end the
run with status 1; speed never does.
"""
