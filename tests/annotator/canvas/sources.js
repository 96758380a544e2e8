// Where the sources of the review screen are.
const path = require("node:path");

exports.SOURCES = path.join(__dirname, "..", "..", "..", "annotator", "ui", "canvas");
