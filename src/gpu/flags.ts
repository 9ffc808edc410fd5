/** Bits that the WebGPU standard fixes. A browser has them as globals, Node does not. */
export const bufferUsage = {
  mapRead: 0x01,
  copySrc: 0x04,
  copyDst: 0x08,
  uniform: 0x40,
  storage: 0x80,
  queryResolve: 0x200,
} as const;
export const mapRead = 0x01;
export const computeStage = 0x04;
