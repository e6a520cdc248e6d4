// Style sheets are bundled by esbuild; as modules they are empty.
declare module "*.css";
