"""Measures and the rules behind them: order and ties, missing queries, self hits, intervals.

One line through the room: `ranking` checks and orders what an index returned, `placement` finds the
judged documents in it, `measures` holds the formulas, `names` turns ``"nDCG@10"`` into one of them,
`longtail` asks ir_measures for the rest, `intervals` resamples, and `evaluate` joins them. Where
answers judge instead of judgements, `answers` matches passages and `matched` remembers the matches.
"""
