"""The stages a recipe can name. Importing this module registers them and imports nothing heavy.

Each is a thin, typed wrapper around one room; what a stage really does is written there.
"""

from podium.recipe.stages import data_stages as data_stages
from podium.recipe.stages import exam_stages as exam_stages
from podium.recipe.stages import model_stages as model_stages
from podium.recipe.stages import select_stages as select_stages
