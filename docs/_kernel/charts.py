"""Run by IPython before each executed page: charts as SVG; those with sliders also for Vega."""

import html
import json

import altair as alt
import vl_convert


def _render(spec, **_):
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
    if "params" not in spec:
        return {"image/svg+xml": svg}
    document = json.dumps(spec).replace("</", "<\\/")
    label = html.escape(spec.get("description", ""), quote=True)
    return {
        "text/html": f'<div class="vega-chart" role="group" aria-label="{label}">'
        f'<div>{svg}</div><script type="application/json">{document}</script></div>'
    }


alt.renderers.register("site", _render)
alt.renderers.enable("site")
alt.data_transformers.disable_max_rows()
