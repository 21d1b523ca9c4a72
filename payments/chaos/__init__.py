"""Shop-days on a virtual clock, in which everything goes wrong that can.

In one process, with the real domain code, real transactions and a database of its
own: cashiers sell (`shopfloor`), M-Pesa answers behind the gateway interface
(`bank`), the way between them loses, delays, doubles and forges (`network`,
`forgeries`), and our process dies at its commit points (`crashes`). After every
step the books are checked (`invariants`). One seed is one course of events: it
replays identically. `safeguards` switches off one of ours, to show that it is
needed.
"""
