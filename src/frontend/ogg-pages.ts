/** One link of a chain of Ogg streams: the pages of its first stream of a known codec. */
export interface OggLink {
  /** First 8 characters of the stream's first packet. */
  readonly mark: string;
  /** Pages, each whole. */
  readonly pages: Uint8Array[];
  /** Whether its last page says so. */
  ended: boolean;
  /** Position of the last page that has one. */
  granule: number;
  /** Position of the first page that has one. */
  begin: number;
}

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
 * The links of an Ogg file. Bytes that are no page are skipped; of a page that the file cuts, the whole packets are kept.
 * @returns each link's audio pages, and whether a page was cut
 * @source RFC 3533, sections 4 and 6
 */
export function oggLinks(bytes: Uint8Array): { readonly links: OggLink[]; readonly cut: boolean } {
  const links: OggLink[] = [];
  let streams = new Map<number, OggLink>();
  let [at, begun, cut] = [0, false, false];
  const close = (): void => {
    const all = [...streams.values()];
    const audio = all.find(({ mark }) => oggCodec(mark) !== undefined) ?? all[0];
    if (audio) links.push(audio);
    streams = new Map();
  };
  while (at + 27 <= bytes.length) {
    if (!isPage(bytes, at)) {
      at++;
      continue;
    }
    const whole = pageAt(bytes, at);
    cut = !whole;
    const page = whole ?? pageAt(shortened(bytes.subarray(at)), 0);
    if (!page) break;
    const first = (page.flags & 2) !== 0;
    if (first && begun) close();
    begun = !first;
    let stream = streams.get(page.serial);
    if (!stream && first) {
      const mark = String.fromCharCode(...page.bytes.subarray(page.packet, page.packet + 8));
      streams.set(page.serial, (stream = { mark, pages: [], ended: false, granule: 0, begin: 0 }));
    }
    if (stream) {
      stream.pages.push(page.bytes);
      stream.ended = (page.flags & 4) !== 0;
      if (page.granule > 0) {
        if (stream.granule === 0) stream.begin = page.granule;
        stream.granule = page.granule;
      }
    }
    if (cut) break;
    at += page.bytes.length;
  }
  close();
  return { links, cut };
}

function isPage(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x4f && bytes[at + 1] === 0x67 && bytes[at + 2] === 0x67 && bytes[at + 3] === 0x53;
}

/** A page that the file cuts, with the packets that are whole and without the mark of the stream's end. */
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
