import * as echarts from "echarts";

export interface ChartSize {
  /** Pixels. Default: 1000. */
  readonly width?: number;
  /** Pixels. Default: 320. */
  readonly height?: number;
}

/** A chart as a figure with an SVG in it, for `page`. @param option  as ECharts documents it; it is drawn without animation */
export function chart(option: echarts.EChartsOption, { width = 1000, height = 320 }: ChartSize = {}): string {
  const drawn = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    drawn.setOption({ animation: false, ...option });
    return `<figure>${drawn.renderToSVGString()}</figure>`;
  } finally {
    drawn.dispose();
  }
}
