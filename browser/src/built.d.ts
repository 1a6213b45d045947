/** What build.mjs makes before it bundles the page: text of the worker, and modules as base64 of gzip. */
declare module "built:worker" {
  const source: string;
  export default source;
}
declare module "built:kernel" {
  const packed: string;
  export default packed;
}
declare module "built:runtime" {
  const packed: string;
  export default packed;
}
