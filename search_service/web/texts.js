// The pages' texts in the language of the browser, and numbers in its format.

const en = {
  skip: "Skip to the results",
  status: "Status",
  search: "Search",
  headline: "Find what looks like this",
  lead: "Choose a photo to see the most similar products of the catalogue.",
  choose: "Choose a photo",
  another: "Another photo",
  take: "Take a photo",
  dropHint: "or drop one anywhere on this page, or paste it",
  letGo: "Drop it to search by this photo",
  words: "Or describe it in words",
  wordsHint: "such as a colour and a kind of product",
  narrow: "Narrow it by words",
  narrowHint: "like this, but …",
  searchWords: "Search",
  clearWords: "Clear the words",
  wordsAlone: "By these words alone",
  noWords: "Type at least one word.",
  understood: ({ words }) => `Searched for “${words}”.`,
  unknownWords: ({ words }) => `Not used in this catalogue: ${words}.`,
  speaksOf: "Your words speak of",
  speaksOfMany: "Your words speak of several categories",
  start: "Or start with a product of the catalogue",
  products: ({ count }) => (count === 1 ? "1 product" : `${number(count)} products`),
  yourPhoto: "Your photo",
  noPreview: "This browser can’t show the file, but the service may be able to read it.",
  cropLabel: "Selected part of the photo. Arrow keys move it; with Shift they resize it.",
  cropHint: "Draw a box to search by only a part of it",
  fullPhoto: "Search the full photo",
  looksLike: "Looks like",
  unsure: "Not sure what this is",
  unsureWhy: ({ count }) => `The ${count} most probable categories were searched.`,
  unknown: "This doesn’t look like any category of the catalogue",
  unknownWhy: ({ category }) => `These are the most similar products, from “${category}”.`,
  chosen: "You chose",
  allChosen: ({ count }) => `The ${count} most probable categories`,
  likeItem: "More like this, from",
  confidence: "Probability of each category. Choose one to search it.",
  automatic: "Automatic",
  allProbable: "All probable",
  otherCategory: "Another category…",
  otherLabel: "Search another category",
  show: "Show",
  similar: ({ count }) => (count === 1 ? "1 similar product" : `${number(count)} similar products`),
  hits: ({ count, where }) => `${count} similar products, from ${where}`,
  searching: "Searching…",
  nothing: "No similar products found",
  nothingWhy: "Try another category, or draw a box around the product you are looking for.",
  score: "Similarity",
  moreLikeThis: "More like this",
  close: "Close",
  imageOf: ({ position, count }) => `Image ${position} of ${count}`,
  category: "Category",
  itemId: "Item",
  noImage: "no image",
  retry: "Try again",
  retryIn: ({ seconds }) => `Trying again in ${seconds}\u00a0s.`,
  retrying: "Trying again…",
  overloaded: "The service is busy",
  overloadedWhy: "Too many searches are running right now.",
  notReady: "No catalogue is being served yet",
  notReadyWhy: "This page will try again.",
  unreachable: "The service can’t be reached",
  unreachableWhy: "Check your connection, and that the service is running.",
  image_too_large: "This photo is too large",
  image_too_largeWhy: "Try a smaller one, or a part of it.",
  unsupported_image: "This file is not a supported image",
  unsupported_imageWhy: "Use JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF.",
  broken_image: "This image is damaged",
  broken_imageWhy: "Save it again, or try another image.",
  unknown_item: "This product is no longer in the catalogue",
  unknown_itemWhy: "Search by a photo instead.",
  unknown_category: "This category does not exist",
  unknown_categoryWhy: "Choose one of the categories listed.",
  text_unavailable: "This catalogue can’t be searched by words",
  text_unavailableWhy: "It doesn’t say what its products are. Search by a photo.",
  unknown_words: "The catalogue uses none of these words",
  unknown_wordsWhy: "Try others: it has its own words, and knows no synonyms.",
  unauthorized: "API key required",
  unauthorizedWhy: "This service needs a valid API key.",
  failed: "Something went wrong",
  requestDetails: "Message from the service",
  keyTitle: "API key required",
  keyLead: "Ask the operator of this service for one. It is kept until you close this tab.",
  keyLabel: "API key",
  keyUse: "Use this key",
  // The status page
  statusTitle: "Status",
  built: "Built",
  rejectedSnapshot: "A newer snapshot was rejected; this one stays in service",
  products_: "Products",
  images: "Images",
  skipped: ({ count }) => `${number(count)} skipped`,
  accuracy: "Category accuracy",
  accuracyWhy: ({ count }) => `on ${number(count)} held-out images`,
  recall: "ANN recall at 10",
  recallWhy: "lowest of all categories",
  load: "Load",
  searches: "Searches per second",
  answered: "Latency (median)",
  answered95: "Latency (95th percentile)",
  rejectedSearches: "Rejected (overload)",
  overAll: "since start-up",
  nowOf: ({ seconds }) => `in the last ${seconds} s`,
  categories: "Categories",
  index: "Index",
  recall10: "ANN recall at 10",
  base: "Backbone",
  tuned: "fine-tuned on this catalogue",
};

const pt = {
  skip: "Ir para os resultados",
  status: "Status",
  search: "Busca",
  headline: "Encontre o que é parecido",
  lead: "Escolha uma foto para ver os produtos mais parecidos do catálogo.",
  choose: "Escolher uma foto",
  another: "Outra foto",
  take: "Tirar uma foto",
  dropHint: "ou arraste uma para qualquer lugar desta página, ou cole",
  letGo: "Solte para buscar por esta foto",
  words: "Ou descreva com palavras",
  wordsHint: "por exemplo, uma cor e um tipo de produto",
  narrow: "Refinar com palavras",
  narrowHint: "parecido com este, mas …",
  searchWords: "Buscar",
  clearWords: "Limpar as palavras",
  wordsAlone: "Só por estas palavras",
  noWords: "Escreva pelo menos uma palavra.",
  understood: ({ words }) => `Busca feita por “${words}”.`,
  unknownWords: ({ words }) => `Este catálogo não usa: ${words}.`,
  speaksOf: "Suas palavras falam de",
  speaksOfMany: "Suas palavras falam de várias categorias",
  start: "Ou comece por um produto do catálogo",
  products: ({ count }) => (count === 1 ? "1 produto" : `${number(count)} produtos`),
  yourPhoto: "Sua foto",
  noPreview: "Este navegador não consegue mostrar o arquivo, mas o serviço talvez consiga ler.",
  cropLabel: "Parte selecionada da foto. As setas movem a seleção; com Shift, mudam o tamanho.",
  cropHint: "Desenhe uma caixa para buscar só por uma parte",
  fullPhoto: "Buscar pela foto inteira",
  looksLike: "Parece ser",
  unsure: "Não temos certeza do que é",
  unsureWhy: ({ count }) => `Por isso, a busca foi feita nas ${count} categorias mais prováveis.`,
  unknown: "Isto não parece ser de nenhuma categoria do catálogo",
  unknownWhy: ({ category }) => `Estes são os produtos mais parecidos, de “${category}”.`,
  chosen: "Você escolheu",
  allChosen: ({ count }) => `As ${count} categorias mais prováveis`,
  likeItem: "Mais produtos como este, de",
  confidence: "Probabilidade de cada categoria. Escolha uma para buscar nela.",
  automatic: "Automático",
  allProbable: "Todas as prováveis",
  otherCategory: "Outra categoria…",
  otherLabel: "Buscar em outra categoria",
  show: "Mostrar",
  similar: ({ count }) => (count === 1 ? "1 produto parecido" : `${number(count)} produtos parecidos`),
  hits: ({ count, where }) => `${count} produtos parecidos, de ${where}`,
  searching: "Buscando…",
  nothing: "Nenhum produto parecido encontrado",
  nothingWhy: "Tente outra categoria, ou desenhe uma caixa em volta do produto que você procura.",
  score: "Semelhança",
  moreLikeThis: "Ver parecidos",
  close: "Fechar",
  imageOf: ({ position, count }) => `Imagem ${position} de ${count}`,
  category: "Categoria",
  itemId: "Item",
  noImage: "sem imagem",
  retry: "Tentar novamente",
  retryIn: ({ seconds }) => `Nova tentativa em ${seconds}\u00a0s.`,
  retrying: "Tentando novamente…",
  overloaded: "O serviço está ocupado",
  overloadedWhy: "Há buscas demais neste momento.",
  notReady: "Ainda não há catálogo publicado",
  notReadyWhy: "Esta página vai tentar novamente.",
  unreachable: "Não foi possível acessar o serviço",
  unreachableWhy: "Verifique sua conexão e se o serviço está no ar.",
  image_too_large: "Esta foto é grande demais",
  image_too_largeWhy: "Tente uma menor, ou uma parte dela.",
  unsupported_image: "Este arquivo não é uma imagem compatível",
  unsupported_imageWhy: "Use JPEG, PNG, WebP, GIF, TIFF, BMP ou AVIF.",
  broken_image: "Esta imagem está corrompida",
  broken_imageWhy: "Salve a imagem novamente ou tente outra.",
  unknown_item: "Este produto não está mais no catálogo",
  unknown_itemWhy: "Busque por uma foto.",
  unknown_category: "Esta categoria não existe",
  unknown_categoryWhy: "Escolha uma das categorias da lista.",
  text_unavailable: "Este catálogo não permite busca por palavras",
  text_unavailableWhy: "Ele não descreve seus produtos. Busque por uma foto.",
  unknown_words: "O catálogo não usa nenhuma destas palavras",
  unknown_wordsWhy: "Tente outras: o catálogo tem as próprias palavras e não conhece sinônimos.",
  unauthorized: "Chave de API necessária",
  unauthorizedWhy: "Este serviço exige uma chave de API válida.",
  failed: "Algo deu errado",
  requestDetails: "Mensagem do serviço",
  keyTitle: "Chave de API necessária",
  keyLead: "Peça uma a quem administra este serviço. Ela fica guardada até você fechar esta aba.",
  keyLabel: "Chave de API",
  keyUse: "Usar esta chave",
  statusTitle: "Status",
  built: "Criada",
  rejectedSnapshot: "Uma versão mais nova foi rejeitada; esta continua no ar",
  products_: "Produtos",
  images: "Imagens",
  skipped: ({ count }) => `${number(count)} ignorados`,
  accuracy: "Acurácia da categoria",
  accuracyWhy: ({ count }) => `em ${number(count)} imagens de validação`,
  recall: "Recall ANN em 10",
  recallWhy: "o menor entre as categorias",
  load: "Carga",
  searches: "Buscas por segundo",
  answered: "Latência (mediana)",
  answered95: "Latência (percentil 95)",
  rejectedSearches: "Rejeitadas (sobrecarga)",
  overAll: "desde o início",
  nowOf: ({ seconds }) => `nos últimos ${seconds} s`,
  categories: "Categorias",
  index: "Índice",
  recall10: "Recall ANN em 10",
  base: "Backbone",
  tuned: "ajustado a este catálogo",
};

export const languages = { en, pt };

/** The language of the address, or else the first supported one of the browser. */
export const language = [new URLSearchParams(location.search).get("lang"), ...navigator.languages]
  .map((tag) => (tag ?? "").slice(0, 2).toLowerCase())
  .find((code) => code in languages) ?? "en";

/** Return a text, with its values filled in. */
export function text(name, values = {}) {
  const entry = languages[language][name];
  return typeof entry === "function" ? entry(values) : entry;
}

/** Return true if there is a text of this name. */
export const hasText = (name) => name in languages[language];

/** Translate the page, whose own texts are English. */
export function translate() {
  document.documentElement.lang = navigator.languages.find((tag) => tag.startsWith(language)) ?? language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = text(node.dataset.label);
  for (const link of document.querySelectorAll("a[hreflang]")) link.addEventListener("click", () => keepAddress(link));
}

/** Keep the current search in a link to the page in another language. */
function keepAddress(link) {
  const given = new URLSearchParams(location.search);
  given.set("lang", link.hreflang);
  link.search = String(given);
}

/** Format a number. */
export const number = (value, digits = 0) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Format a share, 0 to 1. */
export const percent = (share) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: 1 });

/** Format a probability, 0 to 1, never rounded to certainty. */
export function probability(share) {
  if (share > 0.999) return `> ${percent(0.999)}`;
  if (share < 0.001) return `< ${percent(0.001)}`;
  return percent(share);
}

/** Format the time since a moment: "3 hours ago". @param {string} moment ISO 8601 */
export function ago(moment) {
  const seconds = (Date.now() - Date.parse(moment)) / 1000;
  const units = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, length] = units.find(([, size]) => seconds >= size) ?? units.at(-1);
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(-Math.floor(seconds / length), unit);
}
