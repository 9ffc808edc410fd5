/** What commands that read audio take, for help texts. */
export const audioForms =
  "wav, w64, aiff, au, mp3, flac, ogg, opus, m4a, aac or webm, any rate and channels; - is standard input";
