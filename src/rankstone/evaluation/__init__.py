"""Measures and the rules behind them: order and ties, missing queries, self hits, intervals.

`ranking` checks and orders the hits of an index, `judged_ranks` finds the judged documents in them,
`measures` holds the formulas, `measure_names` parses ``"nDCG@10"``, `via_ir_measures` computes
other measures, `intervals` resamples, and `evaluate` joins them. Where answers judge instead of
judgements, `answers` matches passages and `answer_judgements` keeps the matches.
"""
