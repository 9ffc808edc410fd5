import * as echarts from "echarts";

export interface ChartSize {
  /** Pixels. Default: 1000. */
  readonly width?: number;
  /** Pixels. Default: 320. */
  readonly height?: number;
}

const phone = 400; // pixels: the text of a chart of this width is readable on a phone
const legendRow = 24; // pixels
/** Colours of middle lightness: they are visible on white and, inverted, on black. */
const color = [
  "#2f78c4",
  "#d9822b",
  "#3a9a6b",
  "#c2506a",
  "#7b61a8",
  "#4d97a8",
  "#a3822c",
  "#b065b0",
  "#7d8790",
];

/**
 * A chart as a figure for `page`: two SVGs, of which the page shows the one that fits its width.
 * @param option  of ECharts, with at most one `grid`; drawn without animation
 */
export function chart(option: echarts.EChartsOption, { width = 1000, height = 320 }: ChartSize = {}): string {
  const narrow = narrowed(option, height);
  return (
    `<figure><div class="broad">${draw(option, width, height)}</div>` +
    `<div class="narrow">${draw(narrow.option, phone, narrow.height)}</div></figure>`
  );
}

function draw(option: echarts.EChartsOption, width: number, height: number): string {
  const drawn = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    drawn.setOption({ animation: false, color, ...option });
    return drawn.renderToSVGString();
  } finally {
    drawn.dispose();
  }
}

/** The chart for a phone: space for a legend of several rows, and fewer ticks. */
function narrowed(
  option: echarts.EChartsOption,
  height: number,
): { option: echarts.EChartsOption; height: number } {
  const grid = option.grid as { readonly top?: number } | undefined;
  const { top = 60 } = grid ?? {};
  const below = option.legend === undefined ? top : legendRow * (legendRows(option) + 1);
  return {
    option: {
      ...option,
      grid: { ...grid, top: Math.max(top, below) },
      xAxis: { ...(option.xAxis as object), splitNumber: 3 },
    },
    height: height + Math.max(0, below - top),
  };
}

/** Rows of the legend at a phone's width: each name takes an icon and 7 pixels a character. */
function legendRows({ series }: echarts.EChartsOption): number {
  const names = [series ?? []].flat().flatMap(({ name }) => (name === undefined ? [] : [String(name)]));
  let rows = 1;
  let used = 0;
  for (const name of names) {
    const width = 50 + 7 * name.length;
    if (used > 0 && used + width > phone) {
      rows++;
      used = 0;
    }
    used += width;
  }
  return rows;
}
