/** Folders that are ready to become Lambda assets. */
export interface Bundles {
  /** `lambda.mjs` of the scan function, with what it reads beside it. */
  scan: string;
  register: string;
  /** FFmpeg, for both. */
  mediaLayer: string;
}
