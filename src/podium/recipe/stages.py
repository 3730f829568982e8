"""The stages a recipe can name. Importing this module registers them and imports nothing heavy.

Each is a thin, typed wrapper around one room; what a stage really does is written there.
"""

from podium.recipe import data_stages as data_stages  # problems, teach, tokenizer
from podium.recipe import exam_stages as exam_stages  # exam
from podium.recipe import model_stages as model_stages  # train, merge, draft
from podium.recipe import select_stages as select_stages  # groups, select
