import { beforeAll, describe, expect, it } from "vitest";
import { qwen3File } from "../../test/helpers/qwen3.js";
import { noiseClip, tinyFiles } from "../../test/helpers/tiny-model.js";
import { useGpu } from "../../test/gpu.js";
import { memoryFiles } from "../checkpoint/source.js";
import { TRANSLATION } from "../tokenizer/translation.js";
import { Generator } from "./generator.js";
import { type PreparedClip, Transcriber } from "./transcriber.js";
import { translate } from "./translator.js";

const gpu = useGpu();
const system = "You are a helpful assistant.";
const limit = { maxNewTokens: 12 };
let files: Map<string, Uint8Array>;
let transcriber: Transcriber;
let clips: PreparedClip[];

beforeAll(async () => {
  files = await tinyFiles({ seed: 5 });
  transcriber = await Transcriber.load(gpu(), memoryFiles("tiny", files));
  clips = [0.3, 0.8].map((seconds, i) => transcriber.prepare(noiseClip(seconds, i), `${i}`));
});

// Plan: of the speech itself: the request's wording before the audio, by the language asked for.
describe("translate", () => {
  it.each(["en", "zh"] as const)("asks for %s in the wording of the data file", async (to) => {
    const got = await translate(transcriber, clips, { to, ...limit });
    const want = await transcriber.transcribe(clips, { prompt: TRANSLATION.speech[to][0], ...limit });
    expect(got.map(({ tokenIds }) => tokenIds)).toEqual(want.map(({ tokenIds }) => tokenIds));
    expect(got.map(({ text }) => text)).toEqual(want.map(({ text }) => text));
    expect(got.every((one) => !("transcript" in one))).toBe(true);
  });
});

// Plan: a cascade's transcript is transcribe's, its text what the LLM alone answers to it, each
// clip as it is alone, with a thought switched off where the template has one; nothing stays on the
// GPU.
describe("a cascade", () => {
  async function expectCascade(
    chatTranscriber: Transcriber,
    from: ReadonlyMap<string, Uint8Array>,
    sys?: string,
  ): Promise<void> {
    const kept = gpu().bytes.kept;
    const got = await translate(chatTranscriber, clips, {
      to: "en",
      cascade: true,
      language: "zh",
      ...limit,
    });
    expect(gpu().bytes).toMatchObject({ kept, live: 0 });
    const heard = await chatTranscriber.transcribe(clips, { language: "zh", ...limit });
    expect(got.map(({ transcript }) => transcript)).toEqual(heard.map(({ text }) => text));
    const generator = await Generator.load(gpu(), memoryFiles("tiny", new Map(from)));
    for (const [i, { transcript, tokenIds, text, finish }] of got.entries()) {
      expect(transcript).not.toBe("");
      const words = chatTranscriber.tokenizer.addedTokens.reduce(
        (rest, token) => rest.replaceAll(token, ""),
        transcript!,
      );
      const prompt = TRANSLATION.text.en[0] + words.trim();
      const alone = await generator.generate({ prompt, system: sys, thinking: false, ...limit });
      if (finish === "loop") expect(alone.tokenIds.slice(0, tokenIds.length)).toEqual(tokenIds);
      else expect([tokenIds, text]).toEqual([alone.tokenIds, alone.text.trim()]);
      const [single] = await translate(chatTranscriber, [clips[i]], {
        to: "en",
        cascade: true,
        language: "zh",
        ...limit,
      });
      expect(single.tokenIds).toEqual(tokenIds);
    }
    generator.free();
  }

  it("answers as the LLM alone", () => expectCascade(transcriber, files)); // its template says the system turn by itself

  it("answers without a thought where Qwen3's template has one", async () => {
    const template = qwen3File("tokenizer_config.json").chat_template as string;
    const thinking = new Map([...files, ["chat_template.jinja", new TextEncoder().encode(template)]]);
    const chatTranscriber = await Transcriber.load(gpu(), memoryFiles("tiny", thinking));
    expect([chatTranscriber.promptSource, chatTranscriber.chat.source]).toEqual(["rules", "template"]);
    expect(chatTranscriber.chat.render({ prompt: "x", thinking: false })).toContain("<think>");
    await expectCascade(chatTranscriber, thinking, system);
    chatTranscriber.free();
  });

  it("streams the text piece by piece, and nothing where nothing was said", async () => {
    const pieces = clips.map(() => "");
    const got = await translate(transcriber, clips, {
      to: "en",
      cascade: true,
      ...limit,
      onText: (clip, text) => (pieces[clip] += text),
    });
    for (const [i, { text, finish }] of got.entries())
      if (finish === "loop") expect(pieces[i].trim().startsWith(text)).toBe(true);
      else expect(pieces[i].trim()).toBe(text);
  });
});
