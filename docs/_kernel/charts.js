// Vega and Vega-Embed stand above: what is drawn already is drawn again, so that it can be moved.
for (const chart of document.querySelectorAll(".vega-chart")) {
  const [picture, text] = chart.children;
  const { hconcat, ...specification } = JSON.parse(text.textContent);
  // Panels stand side by side where there is room.
  const beside = chart.clientWidth >= 640;
  const width = Math.min(360, chart.clientWidth / (beside ? 2 : 1) - 80);
  specification[beside ? "hconcat" : "vconcat"] = hconcat.map((panel) => ({ ...panel, width }));
  await vegaEmbed(picture, specification, { actions: false, renderer: "svg" });
}
