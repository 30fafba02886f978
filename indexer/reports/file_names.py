"""File names of an evaluation report; free of Matplotlib, which takes a second to import."""

PAGE = "evaluation.html"
FIGURES = "evaluation.json"
