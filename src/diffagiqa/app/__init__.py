"""The web page: ``diffagiqa app``. ``actions`` says what happens, ``page`` lays it out in Gradio."""
