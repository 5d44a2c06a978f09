# The laws of bigbench_meta/aggregate/loss_law.py, fitted by R: lm, anova and nls (PORT library).
# Called by compare_loss_laws.py: Rscript loss_law.R FILE, a CSV with columns family, x and loss.
models <- read.csv(commandArgs(trailingOnly = TRUE)[1])
cat("family,law,exponent,coefficient,constant,residual,p_equal\n")
say <- function(family, law, values) {
  cat(paste0("\"", family, "\",", law, ",", paste(sprintf("%.12g", values), collapse = ","), "\n"))
}
for (family in unique(models$family)) {
  own <- models[models$family == family, ]
  centre <- mean(log(own$x))
  own$u <- log(own$x) - centre
  own$y <- log(own$loss)
  saturated <- lm(y ~ factor(x), own)
  line <- lm(y ~ u, own)
  p_line <- anova(line, saturated)[["Pr(>F)"]][2]
  b <- unname(coef(line))
  say(family, "power law", c(-b[2], exp(b[1] - b[2] * centre), 0, deviance(line), p_line))
  best <- NULL
  for (share in c(0.001, 0.1, 0.5, 0.9)) for (steeper in c(1, 3)) {
    start <- list(b0 = b[1], alpha = -steeper * b[2], c = share * min(own$loss))
    fit <- try(nls(y ~ log(exp(b0 - alpha * u) + c), own, start = start, algorithm = "port",
                   lower = c(-Inf, -Inf, 0),
                   control = nls.control(maxiter = 500, warnOnly = TRUE)), silent = TRUE)
    if (!inherits(fit, "try-error") && (is.null(best) || deviance(fit) < deviance(best))) best <- fit
  }
  p <- coef(best)
  free <- df.residual(saturated)
  of_law <- length(unique(own$x)) - 3
  f <- (deviance(best) - deviance(saturated)) / of_law / (deviance(saturated) / free)
  say(family, "power law and constant",
      c(p[["alpha"]], exp(p[["b0"]] + p[["alpha"]] * centre), p[["c"]], deviance(best),
        pf(f, of_law, free, lower.tail = FALSE)))
}
