"""The app in the browser: pages, the review canvas and the server that carries them."""

import os

# Before anything imports gradio: it reads this once, and reports home otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
