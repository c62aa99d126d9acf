"""Measures and their conventions: order and ties, missing queries, self hits, intervals.

`ranking` checks and orders the hits of an index, `judged_ranks` finds the judged documents in them,
`measures` contains the formulas, `measure_names` parses ``"nDCG@10"``, `via_ir_measures` computes
other measures, `intervals` computes confidence intervals, and `evaluate` combines them. For tasks
judged by answers, `answers` matches passages and `answer_judgements` caches the matches.
"""
