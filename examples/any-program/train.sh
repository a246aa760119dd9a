# Gradient descent on x^2 from x = 1: how high it still is after each step.
x=1
for epoch in $(seq "$2"); do
    x=$(awk "BEGIN { print $x - $1 * 2 * $x }")
    echo "{\"epoch\": $epoch, \"height\": $(awk "BEGIN { print $x * $x }")}" >>"$BROADSWEEP_METRICS"
done
