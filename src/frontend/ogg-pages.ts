import { nextByte } from "./spans.js";
import { hasMark } from "./tags.js";

/** One link of a chain of Ogg streams: the pages of its first stream of a known codec. */
export interface OggLink {
  /** First 8 characters of the stream's first packet. */
  readonly mark: string;
  /** Its first page. */
  readonly head: Uint8Array;
  /** Its whole pages: begin, end, begin, end ... */
  readonly spans: number[];
  /** The whole packets of a last page that the file cuts. */
  tail?: Uint8Array;
  /** Whether its last page has the end-of-stream mark. */
  ended: boolean;
  /** Position of the last page that has one. */
  granule: number;
  /** Position of the first page that has one. */
  begin: number;
}

/** The scan ends after so many links. */
const MOST_LINKS = 10_000;

interface Page {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly granule: number;
  readonly serial: number;
  readonly packet: number;
}

const CODECS: Readonly<Record<string, string>> = {
  OpusHead: "Opus",
  "\x01vorbis": "Vorbis",
  "\x7fFLAC": "FLAC",
  "Speex   ": "Speex",
};

/** The codec by a stream's first packet. */
export function oggCodec(mark: string): string | undefined {
  return Object.entries(CODECS).find(([start]) => mark.startsWith(start))?.[1];
}

/**
 * The links of an Ogg file. Other bytes are skipped. A page that the file cuts keeps its whole
 * packets.
 * @returns each link's audio pages, and whether a page was cut
 * @source RFC 3533, sections 4 and 6
 */
export function oggLinks(bytes: Uint8Array): { readonly links: OggLink[]; readonly cut: boolean } {
  const links: OggLink[] = [];
  let streams = new Map<number, OggLink>();
  let [begun, cut] = [false, false];
  const close = (): void => {
    const all = [...streams.values()];
    const audio = all.find(({ mark }) => oggCodec(mark) !== undefined) ?? all[0];
    if (audio) links.push(audio);
    streams = new Map();
  };
  for (let at = nextPage(bytes, 0); at >= 0 && links.length < MOST_LINKS;) {
    const whole = pageAt(bytes, at);
    cut = !whole;
    const page = whole ?? pageAt(shortened(bytes.subarray(at)), 0);
    if (!page) break;
    const first = (page.flags & 2) !== 0;
    if (first && begun) close();
    begun = !first;
    let stream = streams.get(page.serial);
    if (!stream && first && streams.size < MOST_LINKS) {
      const mark = String.fromCharCode(...page.bytes.subarray(page.packet, page.packet + 8));
      stream = { mark, head: page.bytes, spans: [], ended: false, granule: 0, begin: 0 };
      streams.set(page.serial, stream);
    }
    if (stream) addPage(stream, page, whole ? at : undefined);
    if (cut) break;
    at = nextPage(bytes, at + page.bytes.length);
  }
  close();
  return { links, cut };
}

/** @param at  of a whole page */
function addPage(stream: OggLink, page: Page, at: number | undefined): void {
  const { spans } = stream;
  if (at === undefined) stream.tail = page.bytes;
  else if (spans.length > 0 && spans[spans.length - 1] === at) spans[spans.length - 1] += page.bytes.length;
  else spans.push(at, at + page.bytes.length);
  stream.ended = (page.flags & 4) !== 0;
  if (page.granule <= 0) return;
  if (stream.granule === 0) stream.begin = page.granule;
  stream.granule = page.granule;
}

/** The pages of a link, each whole. */
export function* oggPages(bytes: Uint8Array, { spans, tail }: OggLink): Generator<Uint8Array> {
  for (let i = 0; i < spans.length; i += 2)
    for (let at = spans[i]; at < spans[i + 1];) {
      const page = pageAt(bytes, at)!.bytes;
      yield page;
      at += page.length;
    }
  if (tail) yield tail;
}

/**
 * Samples of a channel at 48 kHz in an Opus stream, by the first bytes of its packets.
 * @source RFC 6716, section 3.1; RFC 7845, section 3
 */
export function opusSamples(bytes: Uint8Array, link: OggLink): number {
  let [samples, pages, open] = [0, 0, false]; // open: a packet goes on from the page before
  for (const page of oggPages(bytes, link)) {
    const count = page[26];
    let body = 27 + count;
    for (let i = 0; i < count; i++) {
      if (!open && pages > 0) samples += packetSamples(page[body] ?? 0, page[body + 1] ?? 0, page[27 + i]);
      open = page[27 + i] === 255;
      body += page[27 + i];
    }
    pages++;
  }
  return samples;
}

/** Header packets may count too: seconds at most. */
function packetSamples(toc: number, next: number, size: number): number {
  if (size === 0 || (toc === 0x4f && next === 0x70)) return 0; // "Op" of OpusTags
  const config = toc >> 3;
  const frame =
    config < 12
      ? [480, 960, 1920, 2880][config & 3]
      : config < 16
        ? [480, 960][config & 1]
        : 120 << (config & 3);
  const frames = [1, 2, 2, next & 63][toc & 3];
  return Math.min(5760, frame * frames);
}

function nextPage(bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(0x4f, from);
  while (at >= 0 && !hasMark(bytes, at, "OggS")) at = nextByte(bytes, 0x4f, at + 1); // "O"
  return at >= 0 && at + 27 <= bytes.length ? at : -1;
}

/** The whole packets of a page that the file cuts, without the end-of-stream mark. */
function shortened(bytes: Uint8Array): Uint8Array {
  const count = bytes[26];
  let [size, kept, body] = [0, 0, 0];
  for (let i = 0; i < count && 27 + count + size + bytes[27 + i] <= bytes.length; i++) {
    size += bytes[27 + i];
    if (bytes[27 + i] < 255) [kept, body] = [i + 1, size];
  }
  const page = new Uint8Array(27 + kept + body);
  page.set(bytes.subarray(0, 27 + kept));
  page.set(bytes.subarray(27 + count, 27 + count + body), 27 + kept);
  page[5] &= ~4;
  page[26] = kept;
  return page;
}

function pageAt(bytes: Uint8Array, at: number): Page | undefined {
  const packet = 27 + bytes[at + 26];
  if (at + packet > bytes.length) return undefined;
  let size = packet;
  for (let i = 27; i < packet; i++) size += bytes[at + i];
  if (at + size > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, size);
  const granule = Number(view.getBigInt64(6, true));
  const serial = view.getUint32(14, true);
  return { bytes: bytes.subarray(at, at + size), flags: bytes[at + 5], granule, serial, packet };
}
