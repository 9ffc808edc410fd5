import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DataError } from "../errors.js";
import { CORPORA } from "./all.js";
import type { CorpusOptions, Found } from "./corpus.js";
import { parseSegment } from "./kaldi-parts.js";

const root = mkdtempSync(join(tmpdir(), "funasr-corpora-"));
afterAll(() => rmSync(root, { recursive: true }));

/** A directory with these files; null means any bytes. */
function tree(name: string, files: Readonly<Record<string, string | null>>): string {
  for (const [file, content] of Object.entries(files)) {
    const path = join(root, name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content ?? "audio");
  }
  return join(root, name);
}

/** Utterances as `path | start-end | prompt | text`, then skipped ones as `! where: why`. */
async function read(
  corpus: keyof typeof CORPORA,
  path: string,
  options: CorpusOptions = {},
): Promise<string[]> {
  const lines: string[] = [];
  for await (const found of CORPORA[corpus].read(path, options)) {
    if ("note" in found) lines.push(`# ${found.note}`);
    else if ("skipped" in found) lines.push(`! ${found.skipped}: ${found.why}`);
    else {
      const { audio, start, end, prompt, text } = found.utterance;
      const span = start === undefined ? [] : [`${start}-${end}`];
      lines.push([audio, ...span, ...(prompt === undefined ? [] : [prompt]), text].join(" | "));
    }
  }
  return lines.map((line) => line.replaceAll(`${root}/`, ""));
}

describe("AISHELL-1", () => {
  const transcript = [
    "BAC009S0002W0122 而 对 楼市 成交 抑制 作用 最 大 的 限 购",
    "BAC009S0002W0123 用 app 和 web gpu 开 灯",
    "BAC009S0764W0121 甚至 出现",
    "BAC009S0916W0495 不在",
    "BAC009S0002W0124",
  ];
  const path = tree("data_aishell", {
    "transcript/aishell_transcript_v0.8.txt": transcript.join("\n"),
    "wav/train/S0002/BAC009S0002W0122.wav": null,
    "wav/train/S0002/BAC009S0002W0123.wav": null,
    "wav/train/S0002/BAC009S0002W0124.wav": null,
    "wav/dev/S0724/BAC009S0724W0121.wav": null,
    "wav/test/S0764/BAC009S0764W0121.wav": null,
    "wav/test/S0764/note.txt": null,
  });
  const table = "data_aishell/transcript/aishell_transcript_v0.8.txt";

  test("all splits; a missing transcript, a missing clip and empty words are reported", async () => {
    expect(await read("aishell1", path)).toEqual([
      `! data_aishell/wav/dev/S0724/BAC009S0724W0121.wav: no BAC009S0724W0121 in ${table}`,
      "data_aishell/wav/test/S0764/BAC009S0764W0121.wav | 甚至出现",
      "data_aishell/wav/train/S0002/BAC009S0002W0122.wav | 而对楼市成交抑制作用最大的限购",
      "data_aishell/wav/train/S0002/BAC009S0002W0123.wav | 用app和web gpu开灯",
      `! ${table}:5: no text`,
      `! ${table}:4: no BAC009S0916W0495.wav below data_aishell/wav`,
    ]);
  });

  test("one split; the table has all splits", async () => {
    expect(await read("aishell1", path, { split: "test", prompt: "P：" })).toEqual([
      "data_aishell/wav/test/S0764/BAC009S0764W0121.wav | P： | 甚至出现",
    ]);
    await expect(read("aishell1", path, { split: "none" })).rejects.toThrow(DataError);
    await expect(read("aishell1", root)).rejects.toThrow(
      "expected a table of that name, got none; name the corpus's own directory, or another layout",
    );
  });
});

describe("AISHELL-2", () => {
  test("wav.scp and trans.txt, separated by tabs", async () => {
    const path = tree("iOS/data", {
      "wav.scp":
        "IC0001W0001\twav/C0001/IC0001W0001.wav\nIC0001W0002\twav/C0001/IC0001W0002.wav\nIC0001W0003\twav/C0001/IC0001W0003.wav\n",
      "trans.txt": "IC0001W0001\t厨房用品\nIC0001W0002\t电蒸锅\nIC0001W0009\t没有\n",
      "wav/C0001/IC0001W0001.wav": null,
    });
    expect(await read("aishell2", path)).toEqual([
      "iOS/data/wav/C0001/IC0001W0001.wav | 厨房用品",
      "! iOS/data/trans.txt:2: no such file: iOS/data/wav/C0001/IC0001W0002.wav",
      "! iOS/data/trans.txt:3: no IC0001W0009 in iOS/data/wav.scp",
      "! iOS/data/wav.scp:3: no IC0001W0003 in iOS/data/trans.txt",
    ]);
  });
});

async function kaldiItems(path: string): Promise<Found[]> {
  const items: Found[] = [];
  for await (const item of CORPORA.kaldi.read(path, {})) items.push(item);
  return items;
}

describe("wav.scp and text", () => {
  test("files, absolute and relative; commands and archives are skipped", async () => {
    const path = tree("kaldi", { "a.wav": null, "b.flac": null });
    writeFileSync(
      join(path, "wav.scp"),
      `u1 a.wav\nu2 ${join(path, "b.flac")}\nu3 sox c.wav -t wav - |\nu4 raw.ark:17\n`,
    );
    writeFileSync(join(path, "text"), "u1 one two\nu2\tthree\nu3 four\nu4 five\n");
    expect(await read("kaldi", path)).toEqual([
      "kaldi/a.wav | one two",
      "kaldi/b.flac | three",
      "! kaldi/text:3: a command, not a file",
      "! kaldi/text:4: no such file: kaldi/raw.ark:17",
    ]);
  });

  test("segments of recordings", async () => {
    const path = tree("segments", {
      "wav.scp": "r1 r1.wav\n",
      "r1.wav": null,
      segments: "u1 r1 0.5 2.25\nu2 r1 3 2\nu3 r2 0 1\nu5 r1 4 5\n",
      text: "u1 one\nu2 two\nu3 three\nu4 four\n",
    });
    expect(await read("kaldi", path)).toEqual([
      "segments/r1.wav | 0.5-2.25 | one",
      "! segments/segments:2: no start and end in seconds: r1 3 2",
      "! segments/text:3: no r2 in segments/wav.scp",
      "! segments/text:4: no u4 in segments/segments",
      "! segments/segments:4: no u5 in segments/text",
    ]);
  });

  // Plan: every column of segments and reco2file_and_channel is used, or the line is skipped and
  // the reason names the column.
  test.each([
    ["0.5 2.25 0", { start: 0.5, end: 2.25, channel: 1 }],
    ["0.5 2.25 1", { start: 0.5, end: 2.25, channel: 2 }],
    ["0.5 2.25 2", { start: 0.5, end: 2.25, channel: 3 }],
    ["0.5\t2.25   0", { start: 0.5, end: 2.25, channel: 1 }],
    ["0.5 2.25 A", { start: 0.5, end: 2.25, channel: 1 }],
    ["0.5 2.25 b", { start: 0.5, end: 2.25, channel: 2 }],
    ["0.5 2.25 -1", { start: 0.5, end: 2.25 }],
    ["0.0 -1", { start: 0 }],
    ["0.5 -1.0 1", { start: 0.5, channel: 2 }],
    ["3 0", { start: 3 }],
    ["3 -2.5", { start: 3 }],
    ["-1 2", "no start and end in seconds: r -1 2"],
    ["2 2", "no start and end in seconds: r 2 2"],
    ["1 NaN", "no start and end in seconds: r 1 NaN"],
    ["1", "no start and end in seconds: r 1"],
    ["0x1 2", "no start and end in seconds: r 0x1 2"],
    ["", "no start and end in seconds: r "],
    ["1 2 -2", "no channel 0, 1 or A, B: r 1 2 -2"],
    ["1 -1 bad", "no channel 0, 1 or A, B: r 1 -1 bad"],
    ["1 2 left", "no channel 0, 1 or A, B: r 1 2 left"],
    ["1 2 1.5", "no channel 0, 1 or A, B: r 1 2 1.5"],
    ["1 2 0 x", "more than recording, start, end and channel: r 1 2 0 x"],
  ])("a line of segments: %s", (columns, expected) => {
    expect(parseSegment(`r ${columns}`)).toEqual(
      typeof expected === "string" ? expected : { recording: "r", ...expected },
    );
  });

  test("channels by segments, or else by reco2file_and_channel", async () => {
    const path = tree("sides", {
      "wav.scp": "r1 call.wav\nr2 call.wav\nr3 call.wav\n",
      "call.wav": null,
      segments: "u1 r1 0 1\nu2 r2 1 2\nu3 r2 2 3 0\nu4 r3 3 4\n",
      reco2file_and_channel: "r1 call A\nr2 call B\nr3 call left\n",
      text: "u1 one\nu2 two\nu3 three\nu4 four\n",
    });
    const found = await kaldiItems(path);
    expect(found.map((item) => ("utterance" in item ? item.utterance.channel : item))).toEqual([
      1,
      2,
      1,
      { skipped: join(path, "reco2file_and_channel:3"), why: "no file and channel 0, 1 or A, B: call left" },
    ]);
    rmSync(join(path, "segments"));
    writeFileSync(join(path, "text"), "r1 one\nr2 two\n");
    const whole = await kaldiItems(path);
    expect(whole.flatMap((item) => ("utterance" in item ? [item.utterance.channel] : []))).toEqual([1, 2]);
  });

  test("utterances without words or audio are skipped; unused tables are listed", async () => {
    const files = { "a.wav": null, "b.wav": null, utt2lang: "u1 en\nu2 zh\n", utt2spk: "u1 s\n" };
    const path = tree("other-tables", files);
    mkdirSync(join(path, "d.wav"));
    writeFileSync(join(path, "wav.scp"), "u1 a.wav\nu2 d.wav\nu3 none.wav\nu4\nu5 /dev/null\nu6 b.wav\n");
    writeFileSync(join(path, "text"), "u1 one\nu2 two\nu3 three\nu4 four\nu5 five\nu6\n");
    expect(await read("kaldi", path)).toEqual([
      "# other-tables: not used: utt2lang, utt2spk; name the language with --language, or with data's --prompt",
      "other-tables/a.wav | one",
      "! other-tables/text:2: a directory, not a file: other-tables/d.wav",
      "! other-tables/text:3: no such file: other-tables/none.wav",
      "! other-tables/text:4: no path in other-tables/wav.scp",
      "! other-tables/text:5: a device or a pipe, not a file: /dev/null",
      "! other-tables/text:6: no text",
    ]);
    rmSync(join(path, "utt2lang"));
    writeFileSync(join(path, "spk2gender"), "s f\n");
    expect((await read("kaldi", path))[0]).toBe("# other-tables: not used: utt2spk, spk2gender");
  });

  test("an id that is used twice is an error", async () => {
    const path = tree("twice", { "wav.scp": "u a.wav\n", text: "u one\nv two\nu three\n" });
    await expect(read("kaldi", path)).rejects.toThrow(`${path}/text:3: id: expected one used once, got u`);
  });
});

describe("LibriSpeech", () => {
  const path = tree("LibriSpeech", {
    "dev-clean/84/121123/84-121123.trans.txt": "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS\n",
    "dev-clean/84/121123/84-121123-0000.flac": null,
    "dev-clean/84/121123/84-121123-0002.flac": null,
    "train-clean-100/103/1240/103-1240.trans.txt": "103-1240-0000 CHAPTER ONE\n",
    "train-clean-100/103/1240/103-1240-0000.flac": null,
    "BOOKS.TXT": "1 | x\n",
  });

  test("all splits, or one, or the path of one", async () => {
    const train = ["LibriSpeech/train-clean-100/103/1240/103-1240-0000.flac | CHAPTER ONE"];
    const folder = "LibriSpeech/dev-clean/84/121123";
    expect(await read("librispeech", path)).toEqual([
      `${folder}/84-121123-0000.flac | GO DO YOU HEAR`,
      `! ${folder}/84-121123.trans.txt:2: no such file: ${folder}/84-121123-0001.flac`,
      `! ${folder}/84-121123-0002.flac: not in ${folder}/84-121123.trans.txt`,
      ...train,
    ]);
    expect(await read("librispeech", path, { split: "train-clean-100" })).toEqual(train);
    expect(await read("librispeech", join(path, "train-clean-100"))).toEqual(train);
    await expect(read("librispeech", path, { split: "test" })).rejects.toThrow(
      "expected chapters with *.trans.txt",
    );
  });
});

describe("WenetSpeech", () => {
  const segment = (
    sid: string,
    begin: unknown,
    end: unknown,
    text: unknown,
    ...subsets: string[]
  ): object => ({ sid, confidence: 1, begin_time: begin, end_time: end, subsets, text });
  const audios = [
    {
      aid: "Y1",
      duration: 100.5,
      path: "audio/train/youtube/B00000/Y1.opus",
      url: 'https://x/?a="{[',
      tags: ["drama"],
      segments: [
        segment("Y1_S00000", 0.5, 2.25, "我们 说 web speech", "L", "M"),
        segment("Y1_S00001", 3, 4.5, "好的", "L"),
        segment("Y1_S00002", 5, 5, "空", "L", "M"),
        segment("Y1_S00003", 6, 7, " ", "M"),
      ],
    },
    {
      aid: "Y2",
      path: "audio/train/youtube/B00000/Y2.opus",
      segments: [segment("Y2_S00000", 0, 1, "无", "L", "M")],
    },
    { aid: "Y3", path: "audio/dev/Y3.opus", segments: [segment("Y3_S00000", 0, 1, "开发", "DEV")] },
    { aid: "Y4", segments: "none" },
  ];
  const name = "audio/train/youtube/B00000/Y1.opus";

  test.each([undefined, 1])(
    "segments of one subset, as parts of the long files (indent %s)",
    async (indent) => {
      const files = { [name]: null, "audio/dev/Y3.opus": null };
      const path = tree(`wenet-${indent}`, {
        ...files,
        "WenetSpeech.json": JSON.stringify({ note: { audios: [1] }, audios, after: ["}"] }, null, indent),
      });
      const at = `wenet-${indent}/WenetSpeech.json`;
      expect(await read("wenetspeech", path, { split: "M" })).toEqual([
        `wenet-${indent}/${name} | 0.5-2.25 | 我们说web speech`,
        `! ${at}: Y1: Y1_S00002: no begin_time before an end_time: 5, 5`,
        `! ${at}: Y1: Y1_S00003: no text`,
        `! ${at}: Y2: no such file: wenet-${indent}/audio/train/youtube/B00000/Y2.opus, for 1 segments`,
        `! ${at}: Y4: no path and segments`,
      ]);
      expect(await read("wenetspeech", path, { split: "DEV" })).toEqual([
        `wenet-${indent}/audio/dev/Y3.opus | 0-1 | 开发`,
        `! ${at}: Y4: no path and segments`,
      ]);
    },
  );

  test("many audios, across the pieces of the file", async () => {
    const many = Array.from({ length: 2000 }, (_, i) => ({
      aid: `Y${i}`,
      path: name,
      title: '引号"与\\括号{['.repeat(i % 7),
      segments: [segment(`Y${i}_S0`, i, i + 0.5, "字".repeat(1 + (i % 61)), "L")],
    }));
    const path = tree("wenet-many", { [name]: null, "WenetSpeech.json": JSON.stringify({ audios: many }) });
    const found = await read("wenetspeech", path);
    expect(found).toEqual(
      many.map((_, i) => `wenet-many/${name} | ${i}-${i + 0.5} | ${"字".repeat(1 + (i % 61))}`),
    );
  });

  test.each([
    ['{"audios":[{"aid":"a"', 'expected an array "audios" to its end, got a file that ends in it'],
    ['{"audio":[]}', 'expected an array "audios" to its end, got none'],
    ['{"audios":[{"aid":}]}', 'expected JSON in "audios", got something else'],
  ])("%s is damaged", async (content, message) => {
    const path = tree("wenet-bad", { "WenetSpeech.json": content });
    await expect(read("wenetspeech", path)).rejects.toThrow(message);
  });
});

describe("CoVoST 2", () => {
  const made = "path\tsentence\ttranslation\tclient_id\n";
  const cv = tree("cv/en", {
    "clips/common_voice_en_1.mp3": null,
    "clips/common_voice_en_2.mp3": null,
    "validated.tsv":
      'client_id\tpath\tsentence\nx\tcommon_voice_en_1.mp3\tHello.\ny\tcommon_voice_en_2.mp3\tGood "night\\\\".\n',
  });
  const path = tree("covost", {
    "covost_v2.en_zh-CN.train.tsv":
      `${made}common_voice_en_1.mp3\tHello.\t你好。\tx\ncommon_voice_en_9.mp3\tNo\t无\tx\ncommon_voice_en_2.mp3\tx\n` +
      `common_voice_en_2.mp3\tGood "night".\t\ty\n`,
    "covost_v2.en_zh-CN.tsv":
      "path\ttranslation\tsplit\ncommon_voice_en_1.mp3\t你好。\ttest\ncommon_voice_en_2.mp3\t晚安。\tdev\n",
    "covost_v2.de_fr.dev.tsv": `${made}common_voice_en_1.mp3\tHallo.\tSalut\tx\n`,
  });
  const clip = (n: number): string => `cv/en/clips/common_voice_en_${n}.mp3`;

  test("the script's TSV: translations with the request for their language, or sentences", async () => {
    const at = "covost/covost_v2.en_zh-CN.train.tsv";
    const skipped = [
      `! ${at}:3: no such file: ${clip(9)}`,
      `! ${at}:4: another number of fields than the header`,
    ];
    expect(await read("covost2", path, { audio: cv })).toEqual([
      `${clip(1)} | 语音翻译成中文： | 你好。`,
      ...skipped,
      `! ${at}:5: no text`,
    ]);
    expect(await read("covost2", path, { audio: cv, task: "transcribe" })).toEqual([
      `${clip(1)} | Hello.`,
      ...skipped,
      `${clip(2)} | Good "night".`,
    ]);
  });

  test("the published TSV, with Common Voice's sentences", async () => {
    const file = join(path, "covost_v2.en_zh-CN.tsv");
    expect(await read("covost2", file, { audio: cv })).toEqual([
      `${clip(1)} | 语音翻译成中文： | 你好。`,
      `${clip(2)} | 语音翻译成中文： | 晚安。`,
    ]);
    expect(await read("covost2", file, { audio: cv, task: "transcribe", split: "dev" })).toEqual([
      `${clip(2)} | Good "night\\".`,
    ]);
    await expect(read("covost2", file, { task: "transcribe" })).rejects.toThrow("validated.tsv");
  });

  test("a target language without a wording needs --prompt; several TSVs need a name", async () => {
    const file = join(path, "covost_v2.de_fr.dev.tsv");
    await expect(read("covost2", file, { audio: cv })).rejects.toThrow(
      'target language: expected en or zh, which have a wording, got "fr"; give the wording with --prompt',
    );
    expect(await read("covost2", file, { audio: cv, prompt: "P" })).toEqual([`${clip(1)} | P | Salut`]);
    const two = tree("covost-two", {
      "covost_v2.en_zh-CN.train.tsv": made,
      "covost_v2.de_en.train.tsv": made,
    });
    await expect(read("covost2", two)).rejects.toThrow("name the file itself");
    const other = tree("covost-other", { "covost_v2.en_zh-CN.train.tsv": "a\tb\nx\ty\n" });
    await expect(read("covost2", other)).rejects.toThrow(
      'tsv:1: header: expected a column path, got "a", "b"',
    );
    await expect(read("covost2", root)).rejects.toThrow(
      "expected one covost_v2.*.tsv of that split, got none",
    );
  });
});
