"use strict";
// Draws the pictures that stand in the page as data, in the colours of the theme.
(() => {
  const { pictures } = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  // Only these keys hold colours; a name of the study may begin with an @ as well.
  const COLOURS = new Set(["color", "fillcolor", "bgcolor", "bordercolor", "gridcolor", "linecolor"]);
  let chosen = null;

  const isDark = () => (chosen === null ? prefersDark.matches : chosen === "dark");
  const role = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();

  function onScale(share) {
    const stops = [0, 1, 2, 3, 4].map((stop) => role("scale-stop-" + stop));
    const at = Math.min(3, Math.floor(share * 4));
    const parts = (stop) => [1, 3, 5].map((from) => parseInt(stops[stop].slice(from, from + 2), 16));
    const [low, high] = [parts(at), parts(at + 1)];
    return "rgb(" + low.map((part, i) => Math.round(part + (high[i] - part) * (share * 4 - at))).join(",") + ")";
  }

  function colour(text, known) {
    if (typeof text !== "string" || text[0] !== "@") return text;
    if (!known.has(text)) {
      const name = text.slice(1);
      known.set(text, name.startsWith("scale-") ? onScale(Number(name.slice(6)) / 100) : role(name));
    }
    return known.get(text);
  }

  function coloured(value, known) {
    if (Array.isArray(value)) return value.map((one) => coloured(one, known));
    if (value === null || typeof value !== "object") return value;
    const copy = {};
    for (const [key, one] of Object.entries(value)) {
      const isColour = COLOURS.has(key);
      if (isColour && Array.isArray(one)) copy[key] = one.map((each) => colour(each, known));
      else copy[key] = isColour ? colour(one, known) : coloured(one, known);
    }
    return copy;
  }

  // What all pictures share; a picture's own words come last.
  function withDefaults(layout, height) {
    const axis = (own) => ({ gridcolor: "@grid", linecolor: "@axis", automargin: true, ...own });
    const full = {
      height,
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: "@ink" },
      margin: { l: 52, r: 16, t: 12, b: 46 },
      hoverlabel: { bgcolor: "@card", bordercolor: "@axis", font: { color: "@ink" }, align: "left" },
      ...layout,
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", ...layout.legend },
    };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) full[key] = axis(layout[key]);
    return full;
  }

  const config = {
    displaylogo: false,
    responsive: true,
    displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false,
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
  };

  async function draw() {
    root.dataset.theme = isDark() ? "dark" : "light";
    button.textContent = isDark() ? "light" : "dark";
    const known = new Map();
    for (const picture of pictures) {
      const layout = coloured(withDefaults(picture.layout, picture.height), known);
      await Plotly.react("plot-" + picture.id, coloured(picture.traces, known), layout, config);
    }
    // Tests look here for the end.
    root.dataset.drawn = String(pictures.length);
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    draw();
  });
  prefersDark.addEventListener("change", draw);
  draw();
})();
