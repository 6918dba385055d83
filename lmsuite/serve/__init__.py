"""Models over HTTP: the completions of OpenAI's API, scores, and a page to try models on.

A request passes these files in order: `app` (routes, keys), `requests` (what is asked for, within
`limits`), `prompts` (its text as tokens), `completing` (the text that follows), `replies` (the JSON
of the answer). `served` is a model and those who share its steps: `generation.batcher`
for texts that are written, `scoring` for texts that are given. `running` is the process.
"""
