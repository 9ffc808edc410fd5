/** The parts of W3C's webvtt-parser that tests use; it has no types. */
declare module "webvtt-parser" {
  interface ParsedCue {
    readonly startTime: number;
    readonly endTime: number;
    readonly text: string;
  }
  const webvtt: {
    readonly WebVTTParser: new () => {
      parse(
        text: string,
        mode: "subtitles",
      ): { readonly errors: readonly object[]; readonly cues: ParsedCue[] };
    };
  };
  export default webvtt;
}
