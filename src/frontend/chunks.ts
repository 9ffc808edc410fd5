/** The id of a chunk or box as the number that its bytes are, highest first. */
export function chunkId(id: string): number {
  return Array.from(id).reduce((sum, c) => ((sum << 8) | c.charCodeAt(0)) >>> 0, 0);
}

/** Chunks that files of RIFF and AIFF have. */
const KNOWN = new Set(
  (
    "fmt ,data,fact,ds64,LIST,JUNK,junk,PAD ,FLLR,bext,iXML,axml,chna,cue ,smpl,inst,PEAK,id3 ,ID3 ,DISP,cart,link,umid,levl,plst,acid,strc," +
    "wavl,_PMX,afsp,INFO,COMM,SSND,NAME,AUTH,ANNO,(c) ,COMT,MARK,INST,FVER,APPL,MIDI,AESD,CHAN"
  )
    .split(",")
    .map(chunkId),
);

/** Whether four printable bytes stand at `at`. */
export function isChunkId(view: DataView, at: number): boolean {
  for (let i = at; i < at + 4; i++) {
    const byte = view.getUint8(i);
    if (byte < 32 || byte > 126) return false;
  }
  return true;
}

/**
 * Where the next chunk begins, by its id. Some writers leave out the pad byte of odd sizes.
 * @param end  of the chunk's body
 * @returns    -1: no id is there
 */
export function chunkAfter(view: DataView, end: number, size: number): number {
  const places = (size & 1) === 1 ? [end + 1, end] : [end];
  const inside = places.filter((at) => at + 8 <= view.byteLength);
  const known = inside.find((at) => KNOWN.has(view.getUint32(at)));
  return known ?? inside.find((at) => isChunkId(view, at)) ?? -1;
}

/**
 * Looks for a chunk by its id alone, where sizes are wrong. A chunk whose own size leads to the
 * file's end or to a chunk comes before others.
 * @returns where it begins; -1: nowhere
 */
export function findChunk(view: DataView, from: number, id: string, little: boolean): number {
  const wanted = chunkId(id);
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const head = wanted >>> 24;
  let first = -1;
  for (let at = bytes.indexOf(head, from); at >= 0 && at + 8 <= bytes.length;) {
    if (view.getUint32(at) === wanted) {
      const size = view.getUint32(at + 4, little);
      const end = at + 8 + size;
      if (end === bytes.length || end + 1 === bytes.length || chunkAfter(view, end, size) >= 0) return at;
      if (first < 0) first = at;
    }
    at = bytes.indexOf(head, at + 1);
  }
  return first;
}
